"""Load on a central system from many stations of one process: how fast, and how late.

    python -m simulators.load --url ws://127.0.0.1:9000/ocpp --stations 100 --action MeterValues

prints one line of JSON. Each station connects, boots, starts a transaction (1.6 StartTransaction,
2.0.1 TransactionEvent Started) and then sends the chosen action over and over: in a closed loop
the next message leaves when the answer has come; in an open loop (`--rate`) messages are due at
fixed times whatever the server does, and latency counts from the time a message was due, so that a
server which stalls cannot hide the messages it kept from being sent.

Orders of the central system are obeyed in a word, at once, whatever else goes on. With `--wait` and
`--hold` the stations stay connected and idle for as long as the caller likes.

Messages are prepared texts in which only id, seqNo, time and meter register vary. Time and
register rise with every message of a station (7.2 kW), so that no message repeats another.
"""

import argparse
import asyncio
import gc
import json
import resource
import secrets
import sys
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from ssl import create_default_context

import uvloop

from simulators.load_plan import ACTIONS, PROTOCOLS, LoadPlan, LoadResult, check
from simulators.load_station import Clock, LoadStation
from simulators.rawsocket import connect

_PACE_S = 0.001
_DRAIN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 5.0

__all__ = ["LoadPlan", "LoadResult", "check", "main", "raise_file_limit", "run"]


def raise_file_limit() -> int:
    """Lift the soft limit on open files to the hard one; returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Run:
    """What the stations of one run share: plan, counters, latencies."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.name = secrets.token_hex(3)
        self.tag = self.name.encode() + b"-"
        self.clock = Clock()
        self.result = LoadResult(plan.stations, plan.action, plan.protocol)
        self.reasons: Counter[str] = Counter()
        self.latencies_s = array("d")
        self.closed_loop = False
        self.stopping = False
        self.begin = self.until = 0.0
        self.issued = 0
        self.outstanding = 0
        self.drained = asyncio.Event()  # nothing outstanding, nothing more to send
        self.open = 0
        self.all_closed = asyncio.Event()
        urls = plan.urls
        self.stations = [
            LoadStation(self, f"{plan.prefix}{number:05d}", urls[number % len(urls)])
            for number in range(plan.stations)
        ]

    def may_send(self, station: LoadStation) -> bool:
        """Whether one more message is wanted; a dead station's message counts as unanswered."""
        if self.stopping:
            return False
        if self.plan.messages is not None and self.issued >= self.plan.messages:
            self._check_drained()
            return False
        if station.failed:
            self.result.unanswered += 1
            return False
        return True

    def sent_one(self, due: float) -> None:
        self.issued += 1
        self.outstanding += 1
        if due >= self.begin:
            self.result.sent += 1

    def took(self, due: float, now: float, is_error: bool) -> None:
        self.outstanding -= 1
        if is_error:
            self.result.errors += 1
        if due >= self.begin:
            self.result.answered += 1
            self.latencies_s.append(now - due)
        if self.stopping:
            self._check_drained()

    def gone(self, station: LoadStation, reason: str) -> None:
        lost = len(station.pending) if station.phase == "run" else 0
        self.outstanding -= lost
        self.result.unanswered += lost + len(station.backlog)
        station.pending.clear()
        station.backlog.clear()
        if reason.startswith("refused"):
            self.result.refused += 1
        elif not (self.stopping and station.phase == "over"):
            self.result.closed += 1
        if station.phase != "over":
            self.reasons[reason] += 1
        self._check_drained()

    def _check_drained(self) -> None:
        if self.outstanding <= 0:
            self.drained.set()

    async def set_up(self) -> None:
        """Connect, boot and start every station; those that fail are counted, not raised."""
        started = time.perf_counter()
        gate = asyncio.Semaphore(self.plan.connects_at_once or self.plan.stations)

        async def one(station: LoadStation) -> None:
            async with gate:
                try:
                    await connect(station, station.url, self.plan.ssl)
                    await station.ready
                except OSError as error:
                    station.give_up(f"refused: {error.strerror or error}")

        tasks = [asyncio.ensure_future(one(station)) for station in self.stations]
        _, late = await asyncio.wait(tasks, timeout=self.plan.setup_timeout_s)
        for task in late:
            task.cancel()
            self.reasons["not ready in time"] += 1
        await asyncio.gather(*late, return_exceptions=True)
        self.result.setup_s = time.perf_counter() - started
        boots = sorted(s.boot_s for s in self.stations if s.boot_s)
        self.result.boot_p50_ms, self.result.boot_p99_ms = _quantiles_ms(boots, 0.5, 0.99)

    async def go(self) -> None:
        """The measured part."""
        live = [s for s in self.stations if s.phase == "run" and not s.failed]
        if not live:
            return
        self.drained.clear()
        begin = time.perf_counter()
        self.begin = begin + self.plan.warm_up_s
        self.until = self.begin + self.plan.duration_s
        if self.plan.rate_per_s is None:
            self.closed_loop = True
            for station in live:
                for _ in range(self.plan.in_flight):
                    station.fire(time.perf_counter())
            await self._wait_for_end()
        else:
            await self._pace(live, self.plan.rate_per_s, begin)
        end = time.perf_counter()
        self.stopping = True
        self._check_drained()
        if self.outstanding > 0:
            self.drained.clear()
            try:
                await asyncio.wait_for(self.drained.wait(), _DRAIN_TIMEOUT_S)
            except TimeoutError:
                self.result.unanswered += self.outstanding
        # What was answered while draining belongs to the count, the time of draining does not.
        self.result.seconds = end - self.begin

    async def _wait_for_end(self) -> None:
        """Until the time is over, or all messages are answered."""
        timeout_s = None
        if self.plan.messages is None:
            timeout_s = self.until - time.perf_counter()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.drained.wait(), timeout_s)

    async def _pace(self, live: list[LoadStation], rate_per_s: float, begin: float) -> None:
        """Make each message due at its own time, whatever became of those before it."""
        index, count = 0, len(live)
        while True:
            now = time.perf_counter()
            if now >= self.until:
                return
            if self.plan.messages is not None and index >= self.plan.messages:
                return
            due_until = int((now - begin) * rate_per_s)
            while index < due_until:
                live[index % count].fire(begin + index / rate_per_s)
                index += 1
            await asyncio.sleep(_PACE_S)

    async def finish(self) -> None:
        """End the transactions, then close the sockets."""
        if self.plan.finish and self.plan.action in ("MeterValues", "TransactionEvent"):
            live = [s for s in self.stations if s.phase == "run" and not s.failed]
            for station in live:
                station.end_transaction()
            if live:
                await asyncio.wait([s.ready for s in live], timeout=self.plan.setup_timeout_s)
        self.stopping = True
        for station in self.stations:
            station.phase = "over"
            station.close()
        if self.open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.all_closed.wait(), _CLOSE_TIMEOUT_S)

    def report(self) -> LoadResult:
        """The figures so far."""
        result = self.result
        times = sorted(self.latencies_s)
        result.p50_ms, result.p99_ms, result.p999_ms, result.max_ms = _quantiles_ms(
            times, 0.5, 0.99, 0.999, 1.0
        )
        if result.seconds > 0:
            result.rate_per_s = result.answered / result.seconds
        result.reasons = dict(self.reasons)
        return result


def _quantiles_ms(times_s: list[float], *quantiles: float) -> list[float | None]:
    """Quantiles (nearest rank) of sorted times, in ms; None for all where there are none."""
    if not times_s:
        return [None] * len(quantiles)
    last = len(times_s) - 1
    return [round(times_s[min(last, int(q * len(times_s)))] * 1000, 3) for q in quantiles]


async def run(
    plan: LoadPlan,
    before_load: Callable[[LoadResult], Awaitable[None]] | None = None,
    after_load: Callable[[LoadResult], Awaitable[None]] | None = None,
) -> LoadResult:
    """Carry the plan out. The hooks run with all stations connected: to take measures by.

    Raises: ValueError for an action or protocol that is not known, or not of that version.
    """
    check(plan)
    load = Run(plan)
    cpu_s = time.process_time()
    try:
        await load.set_up()
        if before_load is not None:
            await before_load(load.report())
        if plan.action != "BootNotification":
            await load.go()
        load.result.cpu_s = time.process_time() - cpu_s
        result = load.report()
        if after_load is not None:
            await after_load(result)
    finally:
        await load.finish()
    return result


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulators.load", description="OCPP load generator")
    parser.add_argument(
        "--url",
        default="ws://127.0.0.1:9000/ocpp",
        help="several with commas between: stations are dealt over them in turn",
    )
    parser.add_argument("--stations", type=int, default=100)
    parser.add_argument("--action", choices=ACTIONS, default="MeterValues")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="default: the action's")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds")
    parser.add_argument("--messages", type=int, help="end after so many instead")
    parser.add_argument("--rate", type=float, help="messages a second: open loop")
    parser.add_argument("--in-flight", type=int, default=1, help="per station; OCPP allows 1")
    parser.add_argument(
        "--warm-up", type=float, default=0.0, help="seconds left out of the figures"
    )
    parser.add_argument("--prefix", default="LOAD", help="identities are PREFIX00000 and so on")
    parser.add_argument("--password", help="HTTP basic; {id} stands for the identity")
    parser.add_argument("--ca", help="PEM file that a wss server's certificate is checked against")
    parser.add_argument("--connects-at-once", type=int, default=0, help="0: all at once")
    parser.add_argument("--setup-timeout", type=float, default=120.0, help="seconds")
    parser.add_argument("--finish", action="store_true", help="end the transactions")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="print the set-up's figures and wait for a line on stdin before the load",
    )
    parser.add_argument(
        "--hold",
        action="store_true",
        help="after printing the figures stay connected until a line or the end of stdin",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit code 0 when every message sent was answered without error."""
    args = _arguments(arguments)
    plan = LoadPlan(
        url=args.url,
        stations=args.stations,
        action=args.action,
        protocol=args.protocol or ("ocpp2.0.1" if args.action == "TransactionEvent" else "ocpp1.6"),
        duration_s=args.duration,
        messages=args.messages,
        rate_per_s=args.rate,
        in_flight=args.in_flight,
        warm_up_s=args.warm_up,
        prefix=args.prefix,
        password=args.password,
        connects_at_once=args.connects_at_once,
        setup_timeout_s=args.setup_timeout,
        finish=args.finish,
        ssl=create_default_context(cafile=args.ca) if args.ca else None,
    )
    raise_file_limit()
    gc.disable()  # nothing here makes cycles, and a collection would show as the server's latency

    async def wait(result: LoadResult) -> None:
        print(json.dumps(asdict(result)), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

    async def whole() -> LoadResult:
        return await run(plan, wait if args.wait else None, wait if args.hold else None)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(whole())
    if not args.hold:
        print(json.dumps(asdict(result)), flush=True)
    whole_run = result.connected == result.stations and not result.reasons
    return 0 if whole_run and not (result.errors or result.unanswered or result.closed) else 1


if __name__ == "__main__":
    sys.exit(main())
