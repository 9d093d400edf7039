"""A co-ownership whose delivery point the operator holds: lots, co-owners, sessions."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from billing import lots, supplying
from billing.supplying import Billed
from csms import db
from csms.config import Settings
from csms.db import Database, transaction
from tests import billing_world as world
from tests.scenarios.payments import DESK

SINCE: Final = date(2026, 9, 1)
AT: Final = datetime(2026, 9, 1, 8, tzinfo=UTC)
PRICE: Final = Decimal("0.1740")  # EUR per kWh, without VAT
TELEMETERING_CENTS: Final = 500


async def add_coownership(database: Database, name: str = "Copropriété S") -> int:
    """A client with two points and no mandate, whose contract says what a kWh costs."""
    client_id = await world.add_client(database, name, mandate_from_on=None)
    async with await db.connect(database, owner=True) as connection:
        await connection.execute(
            """
            UPDATE contract_terms SET energy_price_eur_per_kwh = %s, monthly_telemetering_cents = %s
             WHERE client_id = %s
            """,
            (PRICE, TELEMETERING_CENTS, client_id),
        )
        await connection.execute(
            """
            INSERT INTO evse (station_key, evse_id)
            SELECT station_key, 2 FROM station WHERE client_id = %s
            """,
            (client_id,),
        )
    return client_id


async def supply(pool: AsyncConnectionPool, client_id: int, from_on: date = SINCE) -> None:
    """The operator supplies its site from a day on."""
    async with transaction(pool) as connection:
        await lots.supply_site(connection, f"site-{client_id}", from_on, actor=DESK, now=AT)


async def give_lot(
    pool: AsyncConnectionPool,
    client_id: int,
    reference: str,
    person_id: int,
    *,
    evse_id: int | None = None,
    from_on: date = SINCE,
    provision_cents: int = 0,
    now: datetime = AT,
) -> int:
    """A lot, its point, and its holder; the holding's id."""
    async with transaction(pool) as connection:
        lot_id = await lots.put_lot(
            connection,
            f"site-{client_id}",
            reference,
            point=None if evse_id is None else (f"station-{client_id}", evse_id),
            from_on=from_on,
            actor=DESK,
            now=now,
        )
        return await lots.begin_holding(
            connection,
            lot_id,
            client_id=client_id,
            person_id=person_id,
            signed_on=min(from_on, now.date()),
            from_on=from_on,
            provision_cents=provision_cents,
            actor=DESK,
            now=now,
        )


async def leave(
    pool: AsyncConnectionPool,
    holding_id: int,
    to_on: date,
    now: datetime,
    **values: Any,
) -> None:
    """A holding ends."""
    async with transaction(pool) as connection:
        await lots.end_holding(
            connection,
            holding_id,
            to_on,
            "Vente du lot",
            actor=DESK,
            now=now,
            **values,
        )


async def charge(
    database: Database,
    client_id: int,
    energy_wh: int | None,
    ended_at: datetime,
    *,
    evse_id: int = 1,
    token_uid: str | None = None,
    flags: tuple[str, ...] = (),
) -> int:
    """A session that ended; its id."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """
            INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                                 authorization_status, state, started_at, ended_at, energy_wh,
                                 evse_id, token_uid, flags)
            SELECT (SELECT coalesce(max(id), 0) + 1 FROM session), client_id, site_id, station_key,
                   gen_random_uuid()::text, '1', 'Accepted', 'ended',
                   %(ended_at)s - interval '1 hour', %(ended_at)s, %(energy_wh)s, %(evse_id)s,
                   %(token_uid)s, %(flags)s
              FROM station WHERE client_id = %(client_id)s LIMIT 1
            RETURNING id
            """,
            {
                "client_id": client_id,
                "energy_wh": energy_wh,
                "ended_at": ended_at,
                "evse_id": evse_id,
                "token_uid": token_uid,
                "flags": list(flags),
            },
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def bill(
    pool: AsyncConnectionPool, settings: Settings, month: date, now: datetime, **values: Any
) -> Billed:
    """The bills of a month."""
    return await supplying.bill_month(pool, month, now, settings=settings, actor=DESK, **values)


async def ask(
    pool: AsyncConnectionPool,
    settings: Settings,
    holding_id: int,
    now: datetime = AT,
    amount_cents: int | None = None,
) -> int:
    """The provision is asked for; the invoice's id."""
    async with transaction(pool) as connection:
        return await supplying.ask_provision(
            connection, holding_id, now, settings=settings, actor=DESK, amount_cents=amount_cents
        )
