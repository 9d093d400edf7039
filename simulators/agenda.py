"""What a charge point will do later: at a time, or once no car is charging."""

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

Job = Callable[[datetime], None]
JOBS_MAX = 1_000


class Agenda:
    """Jobs by their time, equal times in the order of planning, and jobs for an idle moment."""

    def __init__(self) -> None:
        self._timed: list[tuple[datetime, int, Job]] = []
        self._idle: list[Job] = []
        self._numbers = itertools.count()

    def at(self, due: datetime, job: Job) -> None:
        """Plan a job; more than JOBS_MAX are not kept."""
        if len(self._timed) < JOBS_MAX:
            heapq.heappush(self._timed, (due, next(self._numbers), job))

    def when_idle(self, job: Job) -> None:
        """Plan a job for the moment at which nothing charges any more."""
        if len(self._idle) < JOBS_MAX:
            self._idle.append(job)

    @property
    def next_due(self) -> datetime | None:
        """When the next timed job is due; None: there is none."""
        return self._timed[0][0] if self._timed else None

    def run(self, now: datetime, *, idle: bool) -> None:
        """Do what is due."""
        while self._timed and self._timed[0][0] <= now:
            heapq.heappop(self._timed)[2](now)
        if idle:
            jobs, self._idle = self._idle, []
            for job in jobs:
                job(now)

    def clear(self) -> None:
        """Forget all of it, as in a reboot."""
        self._timed.clear()
        self._idle.clear()
