"""Clients with drivers who owe them something: priced sessions on invoices, put in by hand.

Amounts are in cents, VAT included; nobody here charges VAT. Everything is of October 2026.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection

from billing import books, ledger

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
ISSUED_ON = date(2026, 11, 2)
MONTH = date(2026, 10, 1)

# Clients 2 and 3, each with a station and a tariff; drivers 1 and 2.
WORLD = """
INSERT INTO client (name) VALUES ('Copropriété de démonstration 1'),
                                 ('Copropriété de démonstration 2');
INSERT INTO site (id, client_id, name)
    SELECT 'site-' || id, id, name FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id)
    SELECT 'station-' || id, id, 'site-' || id FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO person (email) VALUES ('driver-1@example.org'), ('driver-2@example.org');
INSERT INTO driver (person_id) SELECT id FROM person;
INSERT INTO tariff (client_id, code, name)
    SELECT id, 'T', 'Tarif' FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at, created_by)
    SELECT client_id, id, '2026-01-01', '{}', now(), 'test' FROM tariff ORDER BY id;
INSERT INTO invoice_series (client_id, kind, year, prefix)
    SELECT id, kind, 2026, format('C%s-%s-2026-', lpad(id::text, 5, '0'), letter)
      FROM client, (VALUES ('invoice', 'F'), ('credit', 'A')) AS k (kind, letter)
     WHERE NOT is_operator;
"""


async def build(connection: AsyncConnection) -> None:
    """The world, in the connection's transaction."""
    await connection.execute(WORLD.encode())


async def issue(
    connection: AsyncConnection,
    client_id: int,
    person_id: int,
    amounts: Sequence[int],
    *,
    issued_on: date = ISSUED_ON,
    first_session_id: int | None = None,
) -> str:
    """An invoice for one new session of each amount, with its entry; its number."""
    sessions = []
    for n, cents in enumerate(amounts):
        row = await _one(
            connection,
            """
            WITH made AS (
                INSERT INTO session (id, client_id, site_id, station_key, start_key,
                                     transaction_id, token_uid, evse_id, connector_id,
                                     authorization_status, state, started_at, ended_at, energy_wh)
                SELECT n.id, %(client)s, k.site_id, k.station_key, n.id, n.id, 'X', 1, 1,
                       'Accepted', 'ended', '2026-10-20 08:00Z', '2026-10-20 10:00Z', 1000
                  FROM station k,
                       (SELECT coalesce(%(first)s::bigint, max(id) + 1, 1) + %(n)s AS id
                          FROM session) n
                 WHERE k.client_id = %(client)s
                RETURNING id, station_key, site_id, started_at, ended_at)
            INSERT INTO priced_session (session_id, client_id, month, supplied_on, site_id,
                    station_key, evse_id, person_id, tariff_version_id, vat_case, started_at,
                    ended_at, energy_wh, amount_excl_cents, vat_cents, amount_incl_cents,
                    is_estimated, lines, priced_at)
            SELECT m.id, %(client)s, '2026-10-01', '2026-10-20', m.site_id, m.station_key, 1,
                   %(person)s, v.id, 'non_assujetti', m.started_at, m.ended_at, 1000, %(cents)s, 0,
                   %(cents)s, false, '[]', now()
              FROM made m JOIN tariff_version v ON v.client_id = %(client)s
            RETURNING session_id
            """,
            {
                "client": client_id,
                "person": person_id,
                "cents": cents,
                "first": first_session_id,
                "n": 0 if first_session_id is None else n,
            },
        )
        sessions.append(row)
    lines = list(zip(sessions, amounts, strict=True))
    return await _document(
        connection, client_id, person_id, 380, lines, sum(amounts), None, issued_on
    )


async def credit(
    connection: AsyncConnection, number: str, sessions: Sequence[tuple[int, int]]
) -> str:
    """A credit note on sessions of an invoice; its number."""
    return await _correction(connection, number, 381, sessions, -sum(c for _, c in sessions))


async def correct(
    connection: AsyncConnection, number: str, sessions: Sequence[tuple[int, int]], effect: int
) -> str:
    """A corrective that says what all of it costs now, and so much more or less in all."""
    return await _correction(connection, number, 384, sessions, effect)


async def sessions_of(connection: AsyncConnection, number: str) -> list[int]:
    """The sessions of an invoice, in its order."""
    cursor = await connection.execute(
        """
        SELECT session_id FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id
         WHERE number = %s ORDER BY position
        """,
        (number,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def _correction(
    connection: AsyncConnection,
    number: str,
    type_code: int,
    lines: Sequence[tuple[int, int]],
    effect: int,
) -> str:
    cursor = await connection.execute(
        "SELECT client_id, person_id, id FROM invoice WHERE number = %s", (number,)
    )
    found = await cursor.fetchone()
    assert found is not None
    return await _document(
        connection, found[0], found[1], type_code, lines, effect, found[2], ISSUED_ON
    )


async def _document(
    connection: AsyncConnection,
    client_id: int,
    person_id: int,
    type_code: int,
    lines: Sequence[tuple[int, int]],
    effect: int,
    original_id: int | None,
    issued_on: date,
) -> str:
    kind = "credit" if type_code == 381 else "invoice"
    total = sum(cents for _, cents in lines)
    cursor = await connection.execute(
        """
        UPDATE invoice_series SET last_number = last_number + 1
         WHERE client_id = %s AND kind = %s
        RETURNING id, last_number, prefix || lpad(last_number::text, 6, '0')
        """,
        (client_id, kind),
    )
    series = await cursor.fetchone()
    assert series is not None
    content = content_of(series[2], issued_on, total)
    invoice_id = await _one(
        connection,
        """
        INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code,
                             vat_case, month, issued_on, due_on, amount_excl_cents, vat_cents,
                             amount_incl_cents, effect_cents, effect_vat_cents, original_id,
                             source_key, content, content_sha256, created_at)
        VALUES ('client', %s, %s, %s, %s, %s, %s, 'non_assujetti', %s, %s, %s, %s, 0, %s, %s, 0,
                %s, %s, %s, %s, %s)
        RETURNING id
        """,
        (
            *(client_id, person_id, *series, type_code, MONTH, issued_on, issued_on),
            *(total, total, effect, original_id, series[2]),
            *(content, hashlib.sha256(content.encode()).digest(), NOW),
        ),
    )
    for position, (session_id, cents) in enumerate(lines, start=1):
        await connection.execute(
            "INSERT INTO invoice_line VALUES (%s, %s, %s, %s, NULL, %s, %s, 0, %s)",
            (invoice_id, position, client_id, session_id, type_code == 380, cents, cents),
        )
    if effect:
        entry = ledger.invoice_issued(client_id, invoice_id, series[2], effect, issued_on)
        await books.post(connection, [entry], NOW)
    return str(series[2])


def content_of(number: str, issued_on: date, total_cents: int) -> str:
    """What of an invoice's content its row says too."""
    return json.dumps(
        {
            "number": number,
            "issued_on": issued_on.isoformat(),
            "net_cents": total_cents,
            "vat_cents": 0,
            "gross_cents": total_cents,
        }
    )


async def _one(
    connection: AsyncConnection, statement: LiteralString, values: Sequence[Any] | dict[str, Any]
) -> int:
    cursor = await connection.execute(statement, values)
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
