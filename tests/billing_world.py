"""A small world for tests of invoices: clients under mandate, drivers, sessions with a price."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from billing import money
from csms import db
from csms.config import Settings
from csms.db import Database
from csms.domain.siren import french_vat_number

MONTH: Final = date(2026, 10, 1)
NOW: Final = datetime(2026, 11, 2, 9, tzinfo=UTC)
TARIFF: Final = {
    "currency": "EUR",
    "taxes_included": True,
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.35, "step_size": 1}]}],
}
SIREN: Final = "999000003"  # of the clients
OPERATOR: Final[dict[str, Any]] = {
    "operator_name": "Opérateur de démonstration",
    "operator_legal_form": "SAS au capital de 10 000 €",
    "operator_siren": "999000011",
    "operator_vat_number": french_vat_number("999000011"),
    "operator_register": "RCS Paris 999 000 011",
    "operator_street": "1 rue de l’Exemple",
    "operator_postal_code": "75004",
    "operator_city": "Paris",
    "operator_email": "facturation@example.org",
}


def with_operator(settings: Settings) -> Settings:
    """The settings with who the operator is."""
    return replace(settings, **OPERATOR)


async def add_client(
    database: Database,
    name: str,
    *,
    status: str | None = "redevable",
    invoicing: str = "per_driver_month",
    mandate_from_on: date | None = date(2026, 1, 1),
    fee_cents: int = 0,
    subscription_cents: int = 0,
) -> int:
    """A client with a contract, terms, a tariff, a site and a station."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(
            """
            INSERT INTO client (name, class, legal_name, siren, street, postal_code, city, country)
            VALUES (%(name)s, 'non_professionnel', %(name)s || ' SDC', %(siren)s, '2 rue Exemple',
                    '69001', 'Lyon', 'FR') RETURNING id
            """,
            {"name": name, "siren": SIREN},
        )
        client_id = await _number(cursor)
        values = {"client_id": client_id, "name": name, "tariff": json.dumps(TARIFF)}
        if status is not None:
            number = french_vat_number(SIREN) if status == "redevable" else None
            await connection.execute(
                """
                INSERT INTO client_vat (client_id, status, vat_number, from_on)
                VALUES (%s, %s, %s, '2026-01-01')
                """,
                (client_id, status, number),
            )
        await connection.execute(
            """
            WITH made AS (
                INSERT INTO contract (client_id, client_class, devis_reference, signed_on,
                                      starts_on, term_months, mandate_from_on)
                VALUES (%s, 'non_professionnel', %s, '2026-01-01', '2026-01-01', 36, %s)
                RETURNING id)
            INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                                        monthly_management_fee_cents, yearly_subscription_cents,
                                        monthly_telemetering_cents, invoicing)
            SELECT %s, id, '2026-01-01', 0.05, %s, %s, 0, %s FROM made
            """,
            (
                client_id,
                f"D-{client_id}",
                mandate_from_on,
                client_id,
                fee_cents,
                subscription_cents,
                invoicing,
            ),
        )
        await connection.execute(
            """
            WITH place AS (
                INSERT INTO site (id, client_id, name)
                VALUES ('site-' || %(client_id)s, %(client_id)s, %(name)s) RETURNING id),
            station AS (
                INSERT INTO station (id, client_id, site_id)
                SELECT 'station-' || %(client_id)s, %(client_id)s, id FROM place
                RETURNING station_key),
            evse AS (INSERT INTO evse (station_key, evse_id) SELECT station_key, 1 FROM station),
            tariff AS (
                INSERT INTO tariff (client_id, code, name)
                VALUES (%(client_id)s, 'base', 'Tarif de base') RETURNING id)
            INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at,
                                        created_by)
            SELECT %(client_id)s, id, '2026-01-01', %(tariff)s, now(), 'test' FROM tariff
            """,
            values,
        )
    return client_id


async def add_driver(database: Database, name: str, **values: Any) -> int:
    """A driver; `values` are columns of driver."""
    async with await db.connect(database, owner=True) as connection:
        cursor = await connection.execute(
            "INSERT INTO person (email, given_name, language) VALUES (%s, %s, %s) RETURNING id",
            (f"{name}@example.org", name, values.pop("language", "fr")),
        )
        person_id = await _number(cursor)
        given = {"company": None, "siren": None, "street": "3 rue Exemple", **values}
        await connection.execute(
            """
            INSERT INTO driver (person_id, company, siren, street, postal_code, city)
            VALUES (%s, %s, %s, %s, '75001', 'Paris')
            """,
            (person_id, given["company"], given["siren"], given["street"]),
        )
    return person_id


async def add_sessions(
    database: Database,
    client_id: int,
    person_id: int,
    amounts: list[int],
    *,
    day: date = date(2026, 10, 5),
    vat_case: str = "redevable",
    percent: str = "20",
) -> list[int]:
    """Priced sessions of those amounts, an hour each, one after the other on a day; their ids."""
    found = []
    async with await db.connect(database, owner=True) as connection:
        for place, amount in enumerate(amounts):
            end = datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(minutes=place)
            vat = money.vat_in(amount, Decimal(percent)) if vat_case == "redevable" else 0
            part = {
                "dimension": "ENERGY",
                "quantity": amount * 20,
                "energy_wh": amount * 20,
                "duration_s": 3600,
                "unit_price_eur": "0.35",
                "vat_percent": percent if vat_case == "redevable" else "0",
                "amount_excl_cents": amount - vat,
                "amount_incl_cents": amount,
                "estimated": False,
            }
            cursor = await connection.execute(
                """
                WITH made AS (
                    INSERT INTO session (id, client_id, site_id, station_key, start_key,
                                         transaction_id, authorization_status, state, started_at,
                                         ended_at, energy_wh, evse_id)
                    SELECT (SELECT coalesce(max(id), 0) + 1 FROM session), s.client_id, s.site_id,
                           s.station_key, gen_random_uuid()::text, '1', 'Accepted', 'ended',
                           %(start)s, %(end)s, %(energy)s, 1
                      FROM station s WHERE s.client_id = %(client_id)s LIMIT 1
                    RETURNING *)
                INSERT INTO priced_session (
                    session_id, client_id, month, supplied_on, site_id, station_key, evse_id,
                    person_id, tariff_version_id, vat_case, started_at, ended_at, energy_wh,
                    amount_excl_cents, vat_cents, amount_incl_cents, is_estimated, lines, priced_at)
                SELECT m.id, m.client_id, date_trunc('month', %(day)s::date), %(day)s, m.site_id,
                       m.station_key, 1, %(person_id)s,
                       (SELECT id FROM tariff_version v WHERE v.client_id = m.client_id LIMIT 1),
                       %(vat_case)s, m.started_at, m.ended_at, m.energy_wh, %(net)s, %(vat)s,
                       %(gross)s, false, %(lines)s, now()
                  FROM made m RETURNING session_id
                """,
                {
                    "client_id": client_id,
                    "person_id": person_id,
                    "start": end - timedelta(hours=1),
                    "end": end,
                    "day": day,
                    "energy": amount * 20,
                    "vat_case": vat_case,
                    "net": amount - vat,
                    "vat": vat,
                    "gross": amount,
                    "lines": json.dumps([part]),
                },
            )
            found.append(await _number(cursor))
    return found


async def rows(pool: AsyncConnectionPool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    async with pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchall()


async def _number(cursor: Any) -> int:
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
