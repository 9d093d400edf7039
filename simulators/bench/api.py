"""How late the API answers, with many stations and very many sessions behind it.

Everything goes over HTTP to `time2plug serve --only web`, a few callers of a kind at once, each
asking again as soon as it has its answer. An operator sees all rows; a manager and a driver are
answered by the role under row-level security, each by her own. Where an operator and a manager ask
for the very same rows, the ratio of the two is what row-level security costs.

All operations in turn, round after round, so that what else the machine does falls on all of them
alike; a figure is the median over the rounds.
"""

import asyncio
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from psycopg import AsyncConnection

from simulators.bench import api_data
from simulators.bench.api_data import Caller, World
from simulators.bench.machine import Busy
from simulators.bench.processes import BenchError, Cpu, Product, directory_for_a_run
from simulators.bench.web_client import Answer, WebClient

CALLERS = 4  # of a kind at once
_LEAST_ANSWERS = 20  # of a run, however short
_WARM_UP = 8
_DEEP_PAGES = 20
_ROOT = "/api/v1"
#: what a driver's operations ask for, beside what they do not need
_GIVEN = {"lat": "48.6", "lon": "2.0"}


@dataclass(frozen=True)
class Run:
    """One operation, asked by one kind of caller for some time."""

    answers: int
    rate_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    web_ms: float  # CPU of the web process for one answer
    database_ms: float
    quantiles_ms: tuple[float, ...] = field(repr=False)  # a hundred, evenly


@dataclass(frozen=True)
class Operation:
    """What is asked, by whom, at which addresses in turn. `same`: an operator and a manager get the
    same rows."""

    name: str
    callers: tuple[str, ...]
    paths: tuple[str, ...]
    same: bool = False


@dataclass
class Measured:
    """All runs of an operation by one kind of caller, in the order of the rounds."""

    operation: str
    caller: str
    rows: int  # of the first answer
    runs: list[Run] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Of one figure, over the rounds."""
        return statistics.median(float(getattr(run, name)) for run in self.runs)

    def figures(self) -> dict[str, Any]:
        """For the JSON file."""
        names = ("rate_per_s", "p50_ms", "p95_ms", "p99_ms", "web_ms", "database_ms")
        p95s = [run.p95_ms for run in self.runs]
        return {
            "operation": self.operation,
            "caller": self.caller,
            "rows": self.rows,
            "answers": sum(run.answers for run in self.runs),
            **{name: round(self.median(name), 3) for name in names},
            "p95_ms_range": [round(min(p95s), 3), round(max(p95s), 3)],
        }


async def run(
    world: World, *, seconds: float, rounds: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Fill a database, ask, and compare; the slowest operation first.

    seconds: of each operation in each round. Raises: BenchError when an answer was none.
    """
    async with directory_for_a_run() as directory:
        server = Product(directory, part="web")
        try:
            await server.start()
            async with await server.connect() as connection:
                began = time.monotonic()
                held = await api_data.fill(connection, world, tell)
                filled_s = time.monotonic() - began
                callers = await api_data.log_in(connection, world)
                operations = await _operations(connection, server, callers)
            return {
                "held": held,
                "filled_s": filled_s,
                "callers": CALLERS,
                **await _measure(server, operations, callers, seconds, rounds, tell),
            }
        finally:
            await server.stop()


# --- What is asked --------------------------------------------------------------------------------


async def _operations(
    connection: AsyncConnection, server: Product, callers: dict[str, Caller]
) -> list[Operation]:
    """Everything that is asked; where an operator and a manager ask alike, for what is hers."""
    own = await api_data.things_of(connection, api_data.MANAGED)
    both, everybody = ("operator", "manager"), ("operator", "manager", "syndic", "quiet manager")
    found = [
        Operation("clients", ("operator",), ("/clients",)),
        Operation("badges", ("operator",), ("/tokens",)),
        Operation("sites", everybody, ("/sites",)),
        Operation("a site", both, _each("/sites/{}", own.sites), same=True),
        Operation("stations", everybody, ("/stations",)),
        Operation("stations of a site", both, _each("/stations?site_id={}", own.sites), same=True),
        Operation("stations, searched", both, ("/stations?q=vendor%203",)),
        Operation("a station", both, _each("/stations/{}", own.stations), same=True),
        Operation("power limits", both, ("/power-limits",)),
        Operation("sessions", everybody, ("/sessions",)),
        Operation("sessions, 1,000 a page", both, ("/sessions?limit=1000",)),
        Operation("sessions of a site", both, _each("/sessions?site_id={}", own.sites), same=True),
        Operation(
            "sessions of a station", both, _each("/sessions?station_id={}", own.stations), same=True
        ),
        Operation("sessions of a badge", both, _each("/sessions?token_uid={}", own.badges)),
        Operation("sessions of a week", (*both, "syndic"), _weeks()),
        Operation("sessions, open", both, ("/sessions?state=active",)),
        Operation("sessions, flagged", both, ("/sessions?flags=clock",)),
        Operation("a session", both, _each("/sessions/{}", own.sessions), same=True),
        Operation(
            "meter values", both, _each("/sessions/{}/meter-values", own.sessions), same=True
        ),
    ]
    for name in ("operator", "manager", "syndic"):
        paths = await _deep(server.http_port, callers[name], "/sessions")
        found.append(Operation("sessions, deep page", (name,), paths))
    found += await _of_a_driver(server.http_port, callers["driver"])
    return [operation for operation in found if operation.paths]


def _each(path: str, values: Sequence[str]) -> tuple[str, ...]:
    return tuple(path.format(quote(value, safe="")) for value in values)


def _weeks() -> tuple[str, ...]:
    """Weeks of the last three years, one in each quarter, the oldest first."""
    today = datetime.now(UTC).date()
    firsts = [today - timedelta(days=90 * n + 45) for n in reversed(range(12))]
    return tuple(
        f"/sessions?from={day}T00:00:00Z&to={day + timedelta(days=7)}T00:00:00Z" for day in firsts
    )


async def _deep(port: int, caller: Caller, path: str) -> tuple[str, ...]:
    """Pages far down a list: as many as it has, the last of them first."""
    found: list[str] = []
    async with WebClient(port, caller.bearer) as client:
        page = checked(path, await client.get(f"{_ROOT}{path}?limit=1000"))
        while page["next"] is not None and len(found) < _DEEP_PAGES:
            found.append(f"{path}?limit=100&cursor={page['next']}")
            page = checked(
                path, await client.get(f"{_ROOT}{path}?limit=1000&cursor={page['next']}")
            )
    return tuple(reversed(found[-_DEEP_PAGES // 2 :]))


async def _of_a_driver(port: int, caller: Caller) -> list[Operation]:
    """What the application says that a driver may read of hers: each list, and the first thing on
    it. Files and streams are left out: the one is much work by intent, the other does not end."""
    found: list[Operation] = []
    firsts: dict[str, dict[str, Any]] = {}  # the first thing of each list, by the list's path
    async with WebClient(port, caller.bearer) as client:
        described = json.loads((await client.get("/openapi.json")).body)["paths"]
        for path, methods in sorted(described.items()):  # a list before what is below it
            if not f"{path}/".startswith(f"{_ROOT}/me/") or "get" not in methods:
                continue
            listed, below, _ = path.partition("/{")
            if not _answers_json(methods["get"]) or (below and listed not in firsts):
                continue
            asked = {p["name"] for p in methods["get"].get("parameters", ()) if p["name"] in _GIVEN}
            query = "&".join(f"{name}={_GIVEN[name]}" for name in sorted(asked))
            address = _address_of(firsts.get(listed, {}), path.removeprefix(_ROOT))
            address += "?" + query if query else ""
            answer = await client.get(_ROOT + address)
            if answer.status != 200:
                continue
            items = checked(address, answer).get("items")
            if not below and items:
                firsts[path] = items[0]
            found.append(Operation(path.removeprefix(_ROOT), ("driver",), (address,)))
    return found


def _address_of(thing: dict[str, Any], path: str) -> str:
    """The path with the thing's identifier: what is called as in the path, or `id`."""

    def identifier(found: re.Match[str]) -> str:
        return quote(str(thing.get(found[1], thing.get("id", ""))), safe="")

    return re.sub(r"\{([^}]+)\}", identifier, path)


def _answers_json(described: dict[str, Any]) -> bool:
    """Whether it answers at once, in JSON: not a stream, not a file."""
    return set(described["responses"]["200"].get("content", ())) == {"application/json"}


# --- How long it takes ----------------------------------------------------------------------------


async def _measure(
    server: Product,
    operations: Sequence[Operation],
    callers: dict[str, Caller],
    seconds: float,
    rounds: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """All operations by all who may, in turn, round after round; figures."""
    measured: dict[tuple[str, str], Measured] = {}
    busy, began = Busy.now(), server.cpu()
    ours_s = time.process_time()
    for number in range(1, rounds + 1):
        tell(f"api: round {number} of {rounds}")
        for operation in operations:
            for name in operation.callers:
                key = (operation.name, name)
                if key not in measured:
                    rows = await _warm_up(server.http_port, operation, callers[name])
                    measured[key] = Measured(operation.name, name, rows)
                run = await _ask(server, operation, callers[name], seconds)
                measured[key].runs.append(run)
    used = server.cpu().since(began)
    all_ours_s = used.server_s + used.database_s + time.process_time() - ours_s
    ordered = sorted(measured.values(), key=lambda one: -one.median("p95_ms"))
    return {
        "operations": [one.figures() for one in ordered],
        "all": _together(ordered),
        "row_security": _ratios(operations, measured),
        **busy.others_since(all_ours_s),
    }


async def _warm_up(port: int, operation: Operation, caller: Caller) -> int:
    """Ask for what will be asked for; rows of the first answer.

    Raises: BenchError when there is nothing, where there should be something.
    """
    rows = []
    async with WebClient(port, caller.bearer) as client:
        for path in operation.paths[:_WARM_UP]:
            answer = checked(path, await client.get(_ROOT + path))
            rows.append(len(answer["items"]) if "items" in answer else 1)
    if operation.same and not any(rows):
        raise BenchError(f"{operation.name} as {caller.name}: nothing is there")
    return rows[0]


async def _ask(server: Product, operation: Operation, caller: Caller, seconds: float) -> Run:
    """Ask for some seconds, several at once.

    Raises: BenchError for an answer that is none.
    """
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(WebClient(server.http_port, caller.bearer))
            for _ in range(CALLERS)
        ]
        cpu, began = server.cpu(), time.perf_counter()
        taken = await asyncio.gather(
            *(
                _ask_on(client, operation.paths, first, began + seconds)
                for first, client in enumerate(clients)
            )
        )
        wall_s = time.perf_counter() - began
        used = server.cpu().since(cpu)
    times_ms = sorted(taken_s * 1000 for one in taken for taken_s in one)
    return _run(times_ms, wall_s, used)


async def _ask_on(client: WebClient, paths: Sequence[str], first: int, until: float) -> list[float]:
    """One caller's turn through the addresses; seconds of each answer."""
    taken_s: list[float] = []
    while time.perf_counter() < until or len(taken_s) < _LEAST_ANSWERS // CALLERS:
        path = paths[(first + len(taken_s) * CALLERS) % len(paths)]
        answer = await client.get(_ROOT + path)
        check_answered(path, answer)
        taken_s.append(answer.taken_s)
    return taken_s


def checked(path: str, answer: Answer) -> dict[str, Any]:
    """The object that came. Raises: BenchError when none did."""
    check_answered(path, answer)
    found = json.loads(answer.body)
    return found if isinstance(found, dict) else {"items": found}


def check_answered(path: str, answer: Answer) -> None:
    """Raises: BenchError when the answer says that there is none."""
    if answer.status != 200:
        raise BenchError(f"GET {path}: {answer.status} {answer.body[:300]!r}")


def _run(times_ms: list[float], wall_s: float, used: Cpu) -> Run:
    answers = len(times_ms)
    quantiles = tuple(times_ms[answers * n // 100] for n in range(100))
    return Run(
        answers=answers,
        rate_per_s=answers / wall_s,
        p50_ms=quantiles[50],
        p95_ms=quantiles[95],
        p99_ms=quantiles[99],
        web_ms=used.server_s * 1000 / answers,
        database_ms=used.database_s * 1000 / answers,
        quantiles_ms=quantiles,
    )


def _together(measured: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Of each kind of caller, and of all: as if each operation were asked for equally often."""
    kinds = ["all", *dict.fromkeys(one.caller for one in measured)]
    found = {}
    for kind in kinds:
        times_ms = sorted(
            time_ms
            for one in measured
            if kind in ("all", one.caller)
            for run in one.runs
            for time_ms in run.quantiles_ms
        )
        found[kind] = {
            f"p{n}_ms": round(times_ms[len(times_ms) * n // 100], 3) for n in (50, 95, 99)
        }
    return found


def _ratios(
    operations: Sequence[Operation], measured: dict[tuple[str, str], Measured]
) -> dict[str, dict[str, Any]]:
    """A manager's time over an operator's for the same rows, round by round: of the answer, and of
    the database's CPU."""
    found = {}
    for operation in operations:
        if not operation.same:
            continue
        hers, all_seeing = (measured[operation.name, name].runs for name in ("manager", "operator"))
        pairs = list(zip(hers, all_seeing, strict=True))
        times = [one.p50_ms / other.p50_ms for one, other in pairs]
        used = [one.database_ms - other.database_ms for one, other in pairs]
        found[operation.name] = {
            "p50": round(statistics.median(times), 3),
            "p50_range": [round(min(times), 3), round(max(times), 3)],
            "more_database_ms": round(statistics.median(used), 3),
        }
    return found
