"""Run a command as another user: `python unprivileged.py UID GID KEEP COMMAND...`.

A program of its own, replaced by the command (the process id stays), because code between fork and
exec of a process with threads may do next to nothing. Standard library only: it runs with -I -S.

KEEP 1 keeps CAP_DAC_READ_SEARCH over the change of user, so that the command reaches a checkout or
a data directory below folders that only root may enter; nobody has to open those folders. Where
the kernel refuses (not Linux, capability not held), the change of user is a plain one.
"""

import contextlib
import ctypes
import os
import sys

CAP_DAC_READ_SEARCH = 2
_PR_SET_KEEPCAPS, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 28, 47, 2
# Without it, access(2) answers as if the process held no capability.
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522


def drop(uid: int, gid: int, *, keep_search: bool) -> None:
    """Become the user for good; with keep_search, still able to enter and read every folder.

    Raises: OSError when the system refuses the change of user itself.
    """
    if keep_search:
        with contextlib.suppress(OSError, AttributeError):
            _prctl(_PR_SET_KEEPCAPS, 1)
            _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    # With the fix-up off, the change of user has kept every capability: now all go but one.
    kept = 1 << CAP_DAC_READ_SEARCH if keep_search else 0
    try:
        _set_capabilities(kept)
        if keep_search:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH)
    except (OSError, AttributeError):
        with contextlib.suppress(OSError, AttributeError):
            _set_capabilities(0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc().prctl(ctypes.c_int(option), *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _set_capabilities(mask: int) -> None:
    """Permitted, effective and inheritable sets, all equal to the mask (of the first 32)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    if _libc().capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def main(arguments: list[str]) -> None:
    """Drop, then become the command; ends with 126 and a sentence when either fails."""
    uid, gid, keep, *command = arguments
    try:
        drop(int(uid), int(gid), keep_search=keep == "1")
        os.execv(command[0], command)  # noqa: S606 - the point of the program
    except OSError as error:
        print(f"cannot run {command[0]} as user {uid}: {error}", file=sys.stderr)
        sys.exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
