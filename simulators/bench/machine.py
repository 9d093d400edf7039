"""What the kernel says of processes: CPU seconds, memory; and of the machine they ran on.

Linux only: it reads /proc.
"""

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessTimes:
    """One process: its parent, and its CPU seconds without and of its ended children."""

    parent: int
    cpu_s: float
    children_cpu_s: float


def processes() -> dict[int, ProcessTimes]:
    """All processes by id."""
    found = {}
    for entry in _PROC.glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        # The name, in brackets, may hold anything: count from its end.
        fields = text[text.rindex(")") + 2 :].split()
        own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        found[int(entry.name)] = ProcessTimes(
            int(fields[1]), own / _TICKS_PER_S, ended / _TICKS_PER_S
        )
    return found


def tree_cpu_s(root: int | None, without: int | None = None) -> float:
    """CPU seconds of a process, its children and theirs, but not of `without` and those below it.

    0 for a process that is not there.
    """
    known = processes()
    if root is None or root not in known:
        return 0.0
    children: dict[int, list[int]] = {}
    for pid, times in known.items():
        children.setdefault(times.parent, []).append(pid)
    total_s, ahead = 0.0, [root]
    while ahead:
        pid = ahead.pop()
        if pid != without:
            total_s += known[pid].cpu_s + known[pid].children_cpu_s
            ahead += children.get(pid, [])
    return total_s


def memory_bytes(pid: int) -> int:
    """Resident memory of one process."""
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Busy:
    """CPU seconds that all of the machine has used, and how many were stolen by its host."""

    at: float
    busy_s: float
    stolen_s: float

    @staticmethod
    def now() -> "Busy":
        """As it stands now; only differences mean anything."""
        fields = [int(n) for n in (_PROC / "stat").read_text().split("\n")[0].split()[1:9]]
        user, nice, system, _, _, irq, soft, stolen = fields
        busy = user + nice + system + irq + soft
        return Busy(time.monotonic(), busy / _TICKS_PER_S, stolen / _TICKS_PER_S)

    def others_since(self, ours_s: float) -> dict[str, float]:
        """Cores that anything but us has used since this moment, on average, and cores stolen."""
        now = Busy.now()
        wall_s = max(now.at - self.at, 1e-9)
        return {
            "others_cores": round(max(0.0, now.busy_s - self.busy_s - ours_s) / wall_s, 2),
            "stolen_cores": round((now.stolen_s - self.stolen_s) / wall_s, 2),
        }


def describe(directory: Path) -> dict[str, object]:
    """The machine, as far as figures depend on it; `directory` is where the database will be."""
    cpu = "unknown"
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu,
        "memory_gb": round(memory / 2**30, 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
        "disk_sync_us": round(disk_sync_us(directory)),
    }


def disk_sync_us(directory: Path, times: int = 50) -> float:
    """Median time of writing 8 kB durably, in microseconds: what each commit waits for."""
    path = directory / "sync-probe"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    taken_s = []
    try:
        for _ in range(times):
            os.pwrite(descriptor, os.urandom(8192), 0)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            taken_s.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken_s) * 1e6
