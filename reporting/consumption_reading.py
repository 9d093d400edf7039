"""Consumption from the database: the sessions of a period, a batch at a time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from billing.pricing import since_start
from csms.domain.metering import Profile, SampleKind
from csms.points import label_of
from csms.registry import Refusal
from reporting import store_consumption as store
from reporting.consumption import ConsumptionFigures, Step, Tally, Use, User
from reporting.load_curve import Register
from reporting.span import Span
from reporting.store_consumption import UseRow

BATCH: Final = 200  # sessions, with all their readings in memory; others wait meanwhile


@dataclass(frozen=True, slots=True)
class ConsumptionReport:
    """The figures. `clients`: the names of those asked for; () is everybody. What the contract does
    not open, costs by user and their profiles, is not shown."""

    span: Span
    made_at: datetime
    figures: ConsumptionFigures
    clients: tuple[str, ...]
    with_costs: bool = True
    with_profiles: bool = True


async def read(
    connection: AsyncConnection,
    span: Span,
    now: datetime,
    *,
    client_ids: Sequence[int] | None,
    site_id: str | None = None,
    sessions_total: int,
    with_costs: bool = True,
    with_profiles: bool = True,
) -> ConsumptionReport:
    """What was charged, as far as this connection may read it, at some clients' or one site.

    Raises: Refusal for a span that has not begun, and for more than sessions_total sessions.
    """
    period = span.period
    if now <= period.starts_at:
        raise Refusal("The period has not begun: there is nothing to report yet.", "month")
    tally, readings, seen = Tally(period), _Readings(connection), 0
    async with connection.transaction():
        batches = store.stream_uses(
            connection,
            client_ids=client_ids,
            site_id=site_id,
            from_at=period.starts_at,
            to_at=period.ends_at,
            batch=BATCH,
        )
        async for rows in batches:
            seen += len(rows)
            if seen > sessions_total:
                raise Refusal(
                    f"A report holds {sessions_total} sessions at most: ask for one client or site."
                )
            registers = await readings.of([row.session_id for row in rows if row.has_readings])
            for row in rows:
                tally.add(_use(row, registers.get(row.session_id, ())))
    steps: defaultdict[str | None, list[Step]] = defaultdict(list)
    for of_site, from_on, power_w in await store.list_steps(
        connection, client_ids=client_ids, until_on=span.last
    ):
        steps[of_site].append(Step(from_on, power_w))
    named = await store.list_client_names(connection, client_ids or [])
    return ConsumptionReport(
        span,
        now,
        tally.figures(steps),
        tuple(name for _, name in named),
        with_costs,
        with_profiles,
    )


def _use(row: UseRow, registers: Sequence[tuple[datetime, float, float | None]]) -> Use:
    user = User(row.person_id, row.name)
    if row.person_id is None:
        user = User(badge_uid=row.token_uid)
    return Use(
        row.client_id,
        row.client,
        row.site_id,
        row.site,
        label_of(row.evse_static, row.station_id, row.evse_id or 0),
        user,
        row.started_at,
        row.ended_at,
        row.energy_wh,
        row.cost_cents,
        [
            Register(one.at, one.energy_wh)
            for one in since_start(registers, row.meter_start_wh, row.energy_wh)
        ],
    )


class _Readings:
    """What was read in sessions, and what the numbers are, each list of them worked out once."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._known: dict[int, Profile] = {}

    async def of(
        self, session_ids: Sequence[int]
    ) -> dict[int, list[tuple[datetime, float, float | None]]]:
        """Moment and register in Wh by session; readings without a register are passed over."""
        found: defaultdict[int, list[tuple[datetime, float, float | None]]] = defaultdict(list)
        if not session_ids:
            return found
        rows = await store.list_readings(self._connection, session_ids)
        await self._learn({profile_id for *_, profile_id in rows})
        for session_id, at, samples, profile_id in rows:
            register_wh = self._known[profile_id].register_wh(samples)
            if register_wh is not None:
                found[session_id].append((at, register_wh, None))
        return found

    async def _learn(self, profile_ids: set[int]) -> None:
        new = profile_ids - self._known.keys()
        if not new:
            return
        for profile_id, *columns in await store.list_profiles(self._connection, sorted(new)):
            kinds = tuple(SampleKind(*parts) for parts in zip(*columns, strict=True))
            self._known[profile_id] = Profile(kinds)
