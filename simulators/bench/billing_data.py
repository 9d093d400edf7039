"""A month of sessions to be billed, made by SQL, and what must be true once it is closed.

500 sessions to a client, of ten drivers at five points; all is computed from row numbers. Clients
are redevables, in franchise and non-assujettis in turn. One in four has hours with other prices and
a price for standing, so that its sessions are priced by their readings, one each half hour; the
others have one price per kWh.
"""

from collections.abc import Callable
from typing import LiteralString

from psycopg import AsyncConnection

SESSIONS_PER_CLIENT = 500

_STATEMENTS: tuple[tuple[str, LiteralString], ...] = (
    (
        "clients, contracts, tariffs",
        """
        INSERT INTO client (name, class, legal_name, siren, street, postal_code, city, country)
        SELECT 'Client ' || n, 'non_professionnel', 'Client ' || n, '552100554',
               n || ' rue de l’Exemple', '69001', 'Lyon', 'FR'
          FROM generate_series(1, %(clients)s) AS n
        """,
    ),
    (
        "",
        """
        INSERT INTO client_vat (client_id, status, vat_number, from_on)
        SELECT id, (ARRAY['redevable', 'franchise', 'non_assujetti'])[1 + id %% 3],
               CASE WHEN id %% 3 = 0 THEN 'FR96552100554' END, '2020-01-01'
          FROM client WHERE NOT is_operator
        """,
    ),
    (
        "",
        """
        WITH made AS (
            INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on,
                                  term_months, mandate_from_on)
            SELECT id, 'non_professionnel', 'D-' || id, '2025-01-01', '2025-01-01', 36, '2025-01-01'
              FROM client WHERE NOT is_operator
            RETURNING id, client_id)
        INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                                    monthly_management_fee_cents, yearly_subscription_cents,
                                    monthly_telemetering_cents)
        SELECT client_id, id, '2025-01-01', 0.05, 1000, 0, 500 FROM made
        """,
    ),
    (
        "",
        """
        WITH made AS (
            INSERT INTO tariff (client_id, code, name)
            SELECT id, 'base', 'Tarif' FROM client WHERE NOT is_operator RETURNING id, client_id),
        version AS (
            INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at,
                                        created_by)
            SELECT client_id, id, '2025-01-01', CASE client_id %% 4
                   WHEN 0 THEN %(hours)s::jsonb ELSE %(plain)s::jsonb END, now(), 'bench'
              FROM made)
        INSERT INTO tariff_scope (client_id, tariff_id, from_at, created_at, created_by)
        SELECT client_id, id, '2025-01-01', now(), 'bench' FROM made
        """,
    ),
    (
        "sites, points and drivers",
        """
        INSERT INTO site (id, client_id, name)
        SELECT 'site-' || id, id, 'Parking' FROM client WHERE NOT is_operator
        """,
    ),
    (
        "",
        """
        WITH made AS (
            INSERT INTO station (id, client_id, site_id)
            SELECT 'B' || client_id || '-' || n, client_id, id FROM site, generate_series(0, 4) n
            RETURNING station_key)
        INSERT INTO evse (station_key, evse_id) SELECT station_key, 1 FROM made
        """,
    ),
    (
        "",
        """
        WITH made AS (
            INSERT INTO person (email, given_name, family_name)
            SELECT 'driver-' || id || '-' || n || '@example.org', 'Driver', id || '-' || n
              FROM client, generate_series(0, 9) AS n WHERE NOT is_operator
            RETURNING id, family_name),
        driver AS (INSERT INTO driver (person_id, billing_name)
                   SELECT id, 'Driver ' || family_name FROM made),
        badge AS (INSERT INTO token (uid_key, uid) SELECT family_name, family_name FROM made
                  RETURNING token_key, uid_key)
        INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
        SELECT b.token_key, b.uid_key, m.id, '2025-01-01'
          FROM badge b JOIN made m ON m.family_name = b.uid_key
        """,
    ),
    (
        "sessions",
        """
        INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id,
                             evse_id, connector_id, token_uid, token_type, authorization_status,
                             state, started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh,
                             readings_from_at, readings_to_at, stop_reason)
        SELECT n, s.client_id, s.site_id, s.station_key, n::text, n::text, 1, 1,
               s.client_id || '-' || n / %(clients)s %% 10, 'ISO14443', 'Accepted', 'ended', at,
               at + half_hours * interval '30 minutes', 0, energy_wh, energy_wh, at,
               at + half_hours * interval '30 minutes', 'Local'
          FROM (SELECT n::bigint, n %% %(clients)s AS client, 2 + n %% 9 AS half_hours,
                       (2 + n %% 9) * 3000 + n %% 997 AS energy_wh,
                       %(from_at)s::timestamptz
                       + n / %(clients)s * interval '1 day' * 24 / %(per_client)s
                       + n %% 86400 * interval '1 second' AS at
                  FROM generate_series(1, %(sessions)s) AS n) AS made
          JOIN (SELECT *, dense_rank() OVER (ORDER BY client_id) - 1 AS client,
                       row_number() OVER (PARTITION BY client_id ORDER BY station_key) - 1 AS place
                  FROM station WHERE id LIKE 'B%%') s
            ON s.client = made.client AND s.place = made.n / %(clients)s / 10 %% 5
        """,
    ),
    (
        "meter readings",  # the last half hour stands still
        """
        WITH profile AS (
            INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
            VALUES ('bench', '{Energy.Active.Import.Register,Power.Active.Import}', '{"",""}',
                    '{Wh,W}', '{Sample.Periodic,Sample.Periodic}', '{"",""}')
            RETURNING id)
        INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, session_id,
                                   evse_id, connector_id, profile_id, samples)
        SELECT station_key, at, id * 16 + step, at, at, id, 1, 1, profile_id,
               ARRAY[register_wh, 6000.0]
          FROM (SELECT s.station_key, s.id, p.id AS profile_id, step,
                       s.started_at + step * interval '30 minutes' AS at,
                       floor(least(1, step / (extract(epoch FROM s.ended_at - s.started_at) / 1800
                                              - 1)) * s.energy_wh)::float8 AS register_wh
                  FROM session s, profile p,
                       generate_series(0, (extract(epoch FROM s.ended_at - s.started_at)
                                           / 1800)::integer) AS step
                 WHERE s.client_id %% 4 = 0) AS made
        """,
    ),
    ("", "ANALYZE"),
)
_PLAIN = """
{"currency": "EUR", "elements": [{"price_components": [{"type": "ENERGY", "price": 0.35}]}]}
"""
_HOURS = """
{"currency": "EUR", "elements": [
    {"price_components": [{"type": "ENERGY", "price": 0.2}],
     "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
    {"price_components": [{"type": "ENERGY", "price": 0.4},
                          {"type": "PARKING_TIME", "price": 1.5, "step_size": 60}]}]}
"""


async def fill(
    connection: AsyncConnection,
    sessions: int,
    month: str,
    tell: Callable[[str], None],
    *,
    clients: int | None = None,
) -> dict[str, int]:
    """Fill an empty database with sessions of the month, of so many clients or of as many as have
    500 each; how much of what there is."""
    clients = clients or max(3, sessions // SESSIONS_PER_CLIENT)
    parameters = {
        "sessions": sessions,
        "clients": clients,
        "per_client": -(-sessions // clients),
        "from_at": f"{month}-02T00:00:00Z",
        "plain": _PLAIN,
        "hours": _HOURS,
    }
    for what, statement in _STATEMENTS:
        if what:
            tell(f"billing: {what}, for {sessions:,} sessions")
        await connection.execute(statement, parameters)
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM client WHERE NOT is_operator),
               (SELECT count(*) FROM driver), (SELECT count(*) FROM meter_reading)
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return dict(zip(("sessions", "clients", "drivers", "meter_readings"), row, strict=True))


async def prepare_payments(connection: AsyncConnection) -> None:
    """An account that was approved for every client, and an invoice for each use."""
    await connection.execute("UPDATE contract_terms SET invoicing = 'per_use'")
    await connection.execute("UPDATE client SET regulatory_basis = 'exempted'")
    await connection.execute(
        """
        INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at, decided_by,
                                 decided_at, approved)
        SELECT id, 'FR1420041010050500013M02606', name, 'a', now(), 'b', now(), true
          FROM client WHERE NOT is_operator
        """
    )


async def count_paid(connection: AsyncConnection) -> dict[str, int]:
    """Whom the bank paid, and how much."""
    cursor = await connection.execute(
        """
        SELECT count(DISTINCT client_id), coalesce(sum(amount_cents), 0)::bigint
          FROM payout WHERE status = 'settled'
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return {"clients": row[0], "amount_cents": row[1]}


async def count_made(connection: AsyncConnection) -> dict[str, int]:
    """What billing made of it."""
    cursor = await connection.execute(
        """
        SELECT (SELECT count(*) FROM priced_session), (SELECT count(*) FROM invoice),
               (SELECT count(*) FROM invoice_line), (SELECT count(*) FROM ledger_entry),
               (SELECT count(*) FROM statement), (SELECT count(*) FROM statement_line)
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    names = ("priced", "documents", "lines", "entries", "statements", "statement_lines")
    return dict(zip(names, row, strict=True))


async def what_is_left(connection: AsyncConnection, sessions: int) -> list[str]:
    """What keeps the month from being closed, in words; nothing is what should be."""
    cursor = await connection.execute(
        """
        SELECT s.without_price, p.open, c.without_statement, l.without_line, b.unbalanced
          FROM (SELECT %s - count(*) AS without_price FROM priced_session) s,
               (SELECT count(*) AS open FROM billing_problem WHERE resolved_at IS NULL) p,
               (SELECT count(*) AS without_statement FROM client c WHERE NOT c.is_operator
                   AND NOT EXISTS (SELECT FROM statement t WHERE t.client_id = c.id)) c,
               (SELECT count(*) AS without_line FROM priced_session s WHERE NOT EXISTS (
                    SELECT FROM statement_line x WHERE x.session_id = s.session_id)) l,
               (SELECT coalesce(sum(amount_cents), 0) AS unbalanced FROM ledger_posting) b
        """,
        (sessions,),
    )
    row = await cursor.fetchone()
    assert row is not None
    names = (
        "sessions without a price",
        "open problems",
        "clients without a statement",
        "priced sessions on no statement",
        "cents by which the books do not balance",
    )
    left = [f"{number} {name}" for number, name in zip(row, names, strict=True) if number]
    cursor = await connection.execute(
        "SELECT message FROM billing_problem WHERE resolved_at IS NULL ORDER BY id LIMIT 3"
    )
    return left + [row[0] for row in await cursor.fetchall()]
