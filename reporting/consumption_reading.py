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
from reporting.store_consumption import ReadingRow, UseRow

BATCH: Final = 500  # sessions, with all their readings in memory


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
    tally, profiles, seen = Tally(period), _Profiles(), 0
    after: tuple[datetime, int] | None = None
    while True:
        rows = await store.list_uses(
            connection,
            client_ids=client_ids,
            site_id=site_id,
            from_at=period.starts_at,
            to_at=period.ends_at,
            after=after,
            limit=BATCH,
        )
        registers = profiles.registers_of(
            await store.list_readings(
                connection, [row.session_id for row in rows if row.has_readings]
            )
        )
        for row in rows:
            tally.add(_use(row, registers.get(row.session_id, ())))
        seen += len(rows)
        if seen > sessions_total:
            raise Refusal(
                f"A report holds {sessions_total} sessions at most: ask for one client or site."
            )
        if len(rows) < BATCH:
            break
        after = (rows[-1].ended_at, rows[-1].session_id)
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


class _Profiles:
    """What the numbers of readings are, each list worked out once."""

    def __init__(self) -> None:
        self._known: dict[int, Profile] = {}

    def registers_of(
        self, rows: Sequence[ReadingRow]
    ) -> dict[int, list[tuple[datetime, float, float | None]]]:
        """Moment and register in Wh by session; readings without a register are passed over."""
        found: defaultdict[int, list[tuple[datetime, float, float | None]]] = defaultdict(list)
        for row in rows:
            register_wh = self._profile(row).register_wh(row.samples)
            if register_wh is not None:
                found[row.session_id].append((row.at, register_wh, None))
        return found

    def _profile(self, row: ReadingRow) -> Profile:
        known = self._known.get(row.profile_id)
        if known is None:
            columns = (row.measurands, row.phases, row.units, row.contexts, row.locations)
            kinds = tuple(SampleKind(*parts) for parts in zip(*columns, strict=True))
            known = self._known[row.profile_id] = Profile(kinds)
        return known
