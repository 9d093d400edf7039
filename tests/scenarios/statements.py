"""Clients with a month that is closed, as rows: sessions, prices, invoices, money, statement.

Of each: two points, three drivers, `sessions` sessions in October 2026, two a day, of 10 kWh and
4.00 euros each; every fifth is not paid. The figures of the statement are those of its lines.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from psycopg import AsyncConnection

from billing import statement
from billing.invoice import Document, added_up, to_json
from billing.money import vat_in
from billing.statement import (
    Adjustment,
    Commission,
    Fee,
    PointFigures,
    Previous,
    SessionLine,
    Statement,
    UserFigures,
    VatCollected,
)
from tests.scenarios import documents

MONTH: Final = date(2026, 10, 1)
DELIVERED_AT: Final = datetime(2026, 11, 2, 9, tzinfo=UTC)
PRICE_CENTS: Final = 400
ENERGY_WH: Final = 10_000


@dataclass(frozen=True)
class World:
    """The numbers of what was made of one client."""

    client_id: int
    statement_id: int
    line_ids: list[int]
    invoice_ids: list[int]


def session_lines(name: str, count: int) -> list[SessionLine]:
    """What the statement has of each session."""
    lines = []
    for at in range(count):
        began = datetime(2026, 10, 1, 16, 5, tzinfo=UTC) + timedelta(days=at // 2, hours=at % 2)
        lines.append(
            SessionLine(
                position=at + 1,
                session_id=0,
                point=f"{name} · {at % 2 + 1}",
                site=f"Résidence {name}",
                user=f"Conductrice {at % 3 + 1} {name}",
                started_at=began,
                ended_at=began + timedelta(hours=3, minutes=12),
                energy_wh=ENERGY_WH,
                amount_incl_cents=PRICE_CENTS,
                vat_percent=Decimal("20.00"),
                collected_cents=0 if at % 5 == 4 else PRICE_CENTS,
                invoice_number=f"{name}-F-2026-{at + 1:06}",
                is_estimated=at == 2,
                is_late=False,
                contested="",
            )
        )
    return lines


def made(client_id: int, name: str, lines: list[SessionLine]) -> Statement:
    """The statement of such lines."""
    billed = sum(one.amount_incl_cents for one in lines)
    collected = sum(one.collected_cents for one in lines)
    commission = Commission(Decimal("10.00"), collected, *_with_vat(collected // 10))
    fee = Fee("Frais de gestion d’octobre 2026", 1000, 200, 1200, "T2P-F-2026-000007")
    adjustment = Adjustment(
        -300,
        "Contestation acceptée : session comptée deux fois",
        f"{name}-A-2026-000001",
        date(2026, 9, 1),
    )
    net = collected - commission.incl_cents - fee.incl_cents + adjustment.amount_cents
    vat = round(collected / 6)
    return Statement(
        client_id=client_id,
        client_name=name,
        legal_name=f"Copropriété de démonstration {name}",
        month=MONTH,
        contract_reference=f"DEV-{name}",
        opening_cents=0,
        collected_cents=collected,
        uncollected_cents=billed - collected,
        commission=(commission,),
        fees=(fee,),
        offset_cents=0,
        adjustments=(adjustment,),
        disputed_cents=0,
        vat_collected=(VatCollected(Decimal("20.00"), collected - vat, vat),),
        net_cents=net,
        points=tuple(
            PointFigures(point, site, *_figures([one for one in lines if one.point == point]))
            for point, site in sorted({(one.point, one.site) for one in lines})
        ),
        users=tuple(
            UserFigures(user, *_figures([one for one in lines if one.user == user]))
            for user in sorted({one.user for one in lines})
        ),
        sessions=len(lines),
        energy_wh=sum(one.energy_wh for one in lines),
        billed_cents=billed,
        previous=Previous(50, 500_000, 18_000, 14_640),
    )


def _with_vat(excl_cents: int) -> tuple[int, int, int]:
    vat = excl_cents // 5
    return excl_cents, vat, excl_cents + vat


def _figures(lines: list[SessionLine]) -> tuple[int, int, int, int]:
    return (
        len(lines),
        sum(one.energy_wh for one in lines),
        sum(one.amount_incl_cents for one in lines),
        sum(one.collected_cents for one in lines),
    )


# The client, its points and people, its tariff. :name is what all of it is called after.
_GROUND: Final = """
INSERT INTO client (name, legal_name)
    VALUES (:name, 'Copropriété de démonstration ' || :name);
INSERT INTO site (id, client_id, name)
    SELECT :name || '-site', id, 'Résidence ' || :name FROM client WHERE name = :name;
INSERT INTO station (id, client_id, site_id)
    SELECT :name, id, :name || '-site' FROM client WHERE name = :name;
INSERT INTO evse (station_key, evse_id)
    SELECT station_key, n FROM station, generate_series(1, 2) n WHERE id = :name;
INSERT INTO person (email, given_name, family_name)
    SELECT 'conductrice' || n || '.' || :name || '@example.org', 'Conductrice ' || n, :name
      FROM generate_series(1, 3) n;
INSERT INTO driver (person_id) SELECT id FROM person WHERE family_name = :name;
INSERT INTO driver_group (client_id, name, kind)
    SELECT id, 'Résidents', 'residents' FROM client WHERE name = :name;
INSERT INTO group_member (group_id, person_id, from_at)
    SELECT g.id, p.id, '2026-01-01' FROM driver_group g JOIN client c ON c.id = g.client_id
      JOIN person p ON p.family_name = c.name WHERE c.name = :name;
INSERT INTO contract (client_id, client_class, devis_reference, starts_on, term_months)
    SELECT id, 'non_professionnel', 'DEV-' || :name, '2026-01-01', 36
      FROM client WHERE name = :name;
INSERT INTO tariff (client_id, code, name) SELECT id, 'T1', 'Tarif' FROM client WHERE name = :name;
INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at, created_by)
    SELECT client_id, id, '2026-01-01', '{}', now(), 'test' FROM tariff
     WHERE client_id = (SELECT id FROM client WHERE name = :name);
INSERT INTO invoice_series (client_id, kind, year, prefix)
    SELECT id, 'invoice', 2026, :name || '-F-2026-' FROM client WHERE name = :name;
"""


def invoice_of(line: SessionLine) -> Document:
    """A session's invoice, at 0.40 €/kWh."""
    vat_cents = vat_in(line.amount_incl_cents, line.vat_percent)
    use = replace(
        documents.use(wh=line.energy_wh),
        net_cents=line.amount_incl_cents - vat_cents,
        vat_cents=vat_cents,
        gross_cents=line.amount_incl_cents,
        session_id=line.session_id,
        point=f"{line.site}, {line.point}",
        tariff=("0,40 €/kWh, TVA comprise",),
        unit_price_eur=Decimal("0.40"),
    )
    return added_up(replace(documents.charging(), number=line.invoice_number, lines=(use,)))


async def fill(connection: AsyncConnection[Any], name: str, sessions: int) -> World:
    """Make a client, called `name`, with its closed month; on a connection of the owner."""
    await connection.execute(_GROUND.replace(":name", f"'{name}'").encode())
    client_id = await _one(connection, "SELECT id FROM client WHERE name = %s", name)
    lines = [
        replace(line, session_id=client_id * 1000 + line.position)
        for line in session_lines(name, sessions)
    ]
    invoice_ids = [await _charge(connection, client_id, name, line) for line in lines]
    told = made(client_id, name, lines)
    statement_id = await _one(
        connection,
        """
        INSERT INTO statement (client_id, month, opening_cents, collected_cents, uncollected_cents,
                               commission_cents, fees_cents, offset_cents, adjustment_cents,
                               disputed_cents, net_cents, content, sha256, closed_at)
        VALUES (%s, %s, 0, %s, %s, %s, 1200, 0, -300, 0, %s, %s, '', %s) RETURNING id
        """,
        client_id,
        MONTH,
        told.collected_cents,
        told.uncollected_cents,
        told.commission[0].incl_cents,
        told.net_cents,
        statement.to_json(told),
        DELIVERED_AT - timedelta(hours=1),
    )
    line_ids = []
    for line, invoice_id in zip(lines, invoice_ids, strict=True):
        line_ids.append(
            await _one(
                connection,
                """
                INSERT INTO statement_line (statement_id, client_id, position, kind, session_id,
                                            invoice_id, amount_cents)
                VALUES (%s, %s, %s, 'session', %s, %s, %s) RETURNING id
                """,
                statement_id,
                client_id,
                line.position,
                line.session_id,
                invoice_id,
                line.amount_incl_cents,
            )
        )
    await connection.execute(
        """
        INSERT INTO statement_line (statement_id, client_id, position, kind, session_id,
                                    receipt_share_id, amount_cents)
        SELECT %s, client_id, 100000 + id, 'receipt', session_id, id, amount_cents
          FROM receipt_share WHERE client_id = %s
        """,
        (statement_id, client_id),
    )
    return World(client_id, statement_id, line_ids, invoice_ids)


async def deliver(connection: AsyncConnection[Any], world: World, at: datetime) -> None:
    """The statement was sent, and has arrived."""
    await connection.execute(
        """
        INSERT INTO statement_event (statement_id, client_id, kind, at)
        SELECT %s, %s, kind, %s FROM unnest(ARRAY['sent', 'delivered']) kind
        """,
        (world.statement_id, world.client_id, at),
    )


async def _charge(
    connection: AsyncConnection[Any], client_id: int, name: str, line: SessionLine
) -> int:
    """A session with its price, its invoice, and what was paid of it; the invoice's number."""
    key = {"id": line.session_id, "client": client_id, "name": name, "number": line.invoice_number}
    values = key | {
        "evse": int(line.point[-1]),
        "user": line.user.removesuffix(f" {name}"),
        "begin": line.started_at,
        "end": line.ended_at,
        "wh": line.energy_wh,
        "cents": line.amount_incl_cents,
        "paid": line.collected_cents,
        "estimated": line.is_estimated,
        "position": line.position,
        "lines": json.dumps([{"vat_percent": "20.00"}]),
        "content": to_json(invoice_of(line)),
    }
    await connection.execute(
        """
        INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                             evse_id, connector_id, authorization_status, state, started_at,
                             ended_at, energy_wh)
        SELECT %(id)s, client_id, site_id, station_key, %(id)s::text, %(id)s::text, %(evse)s, 1,
               'Accepted', 'ended', %(begin)s, %(end)s, %(wh)s
          FROM station WHERE id = %(name)s
        """,
        values,
    )
    await connection.execute(
        """
        INSERT INTO priced_session (session_id, client_id, month, supplied_on, site_id, station_key,
                                    evse_id, person_id, tariff_version_id, vat_case, started_at,
                                    ended_at, energy_wh, amount_excl_cents, vat_cents,
                                    amount_incl_cents, is_estimated, lines, priced_at)
        SELECT s.id, s.client_id, '2026-10-01', (s.ended_at AT TIME ZONE 'Europe/Paris')::date,
               s.site_id, s.station_key, s.evse_id, p.id, v.id, 'redevable', s.started_at,
               s.ended_at, s.energy_wh, %(cents)s - round(%(cents)s / 6.0),
               round(%(cents)s / 6.0), %(cents)s, %(estimated)s, %(lines)s, now()
          FROM session s JOIN tariff_version v USING (client_id)
          JOIN person p ON p.given_name = %(user)s AND p.family_name = %(name)s
         WHERE s.id = %(id)s
        """,
        values,
    )
    invoice_id = await _one(
        connection,
        """
        INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code,
                             vat_case, month, issued_on, due_on, amount_excl_cents, vat_cents,
                             amount_incl_cents, effect_cents, effect_vat_cents, source_key, content,
                             content_sha256, created_at)
        SELECT 'client', p.client_id, p.person_id, s.id, %(position)s, %(number)s, 380,
               'redevable', p.month, '2026-11-01', '2026-11-01', p.amount_excl_cents, p.vat_cents,
               p.amount_incl_cents, p.amount_incl_cents, p.vat_cents, %(number)s, %(content)s,
               sha256(convert_to(%(content)s, 'utf8')), now()
          FROM priced_session p JOIN invoice_series s USING (client_id)
         WHERE p.session_id = %(id)s RETURNING id
        """,
        values,
    )
    if line.collected_cents:
        await connection.execute(
            """
            WITH paid AS (
                INSERT INTO receipt (source_key, person_id, invoice_id, client_id, amount_cents,
                                     received_on, booked_on, means, body_sha256, created_at,
                                     created_by)
                SELECT number, person_id, id, client_id, %(paid)s, '2026-10-31', '2026-10-31',
                       'transfer', '', now(), 'test'
                  FROM invoice WHERE number = %(number)s RETURNING id, client_id, invoice_id)
            INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents,
                                       booked_on, created_at)
            SELECT id, client_id, invoice_id, %(id)s, %(paid)s, '2026-10-31', now() FROM paid
            """,
            values,
        )
    return invoice_id


async def _one(connection: AsyncConnection[Any], query: str, *values: object) -> int:
    """The one number that a statement answers, its values by position or by name."""
    given = values[0] if len(values) == 1 and isinstance(values[0], dict) else values
    cursor = await connection.execute(query.encode(), given)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
