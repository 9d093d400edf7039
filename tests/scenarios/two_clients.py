"""Two clients that have the same things, their people, and everybody's log-ins.

Each name of A's holds the word alpha, of B's the word beta, so that an answer tells whose it is.
"""

import secrets as chance
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from psycopg import AsyncConnection

from billing import statement
from billing.invoice import (
    Document,
    DocumentLine,
    Party,
    TypeCode,
    VatCase,
    VatTotal,
    to_json,
)
from csms import keys, principals

NOW: Final = datetime.now(UTC)

# The invoice of either: of 12 euros, VAT of 2 in it.
DOCUMENT: Final = to_json(
    Document(
        type_code=TypeCode.INVOICE,
        number="NAME-F-2026-000001",
        issued_on=date(2026, 11, 2),
        due_on=date(2026, 12, 2),
        supplied_from_on=date(2026, 10, 2),
        supplied_to_on=date(2026, 10, 2),
        vat_case=VatCase.REDEVABLE,
        is_goods=True,
        seller=Party("NAME", siren="552100554", vat_number="FR29552100554"),
        buyer=Party("driver NAME", is_consumer=True),
        invoicer=Party("Opérateur de démonstration", siren="732829320"),
        lines=(DocumentLine("Recharge", (), Decimal(20), 1_000, 200, 1_200, session_id=-1),),
        vat=(VatTotal(Decimal(20), 1_000, 200),),
        net_cents=1_000,
        vat_cents=200,
        gross_cents=1_200,
        paid_cents=0,
        mentions=(),
    )
).replace('"session_id":-1', '"session_id":"SESSION"')

# Everything of client A and B. The same numbers everywhere: A's things have odd ids, B's even ones.
_WORLD: Final = """
INSERT INTO client (name) VALUES ('alpha'), ('beta');
INSERT INTO site (id, client_id, name)
    SELECT name || '-site', id, name FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id, public)
    SELECT name || '-station', id, name || '-site', false FROM client WHERE NOT is_operator;
INSERT INTO evse (station_key, evse_id, status) SELECT station_key, 1, 'available' FROM station;
INSERT INTO connector (station_key, evse_id, connector_id) SELECT station_key, 1, 1 FROM station;
UPDATE point SET code = CASE s.id WHEN 'alpha-station' THEN 'AAAA22' ELSE 'BETA22' END
  FROM station s WHERE s.station_key = point.station_key;
INSERT INTO person (email, given_name, family_name)
    SELECT kind || '-' || name || '@example.org', kind || ' ' || name, name
      FROM client, unnest(ARRAY['manager', 'driver']) kind WHERE NOT is_operator
     ORDER BY kind DESC, name;
INSERT INTO person (email, given_name, operator_roles)
    SELECT role || '@example.org', role, ARRAY[role]
      FROM unnest(ARRAY['read', 'operate', 'finance', 'admin']) role;
INSERT INTO client_manager (person_id, client_id, granted_by)
    SELECT p.id, c.id, 'test' FROM person p JOIN client c ON p.given_name = 'manager ' || c.name;
INSERT INTO driver (person_id, billing_name)
    SELECT id, given_name FROM person WHERE given_name LIKE 'driver %';
INSERT INTO driver_group (client_id, name, kind)
    SELECT id, name || '-group', 'residents' FROM client WHERE NOT is_operator;
INSERT INTO group_access (group_id, client_id, site_id)
    SELECT g.id, g.client_id, s.id FROM driver_group g JOIN site s USING (client_id);
INSERT INTO group_member (group_id, person_id)
    SELECT g.id, p.id FROM driver_group g JOIN client c ON c.id = g.client_id
      JOIN person p ON p.given_name = 'driver ' || c.name;
INSERT INTO group_request (group_id, person_id, asked_by, asked_at, expires_at)
    SELECT group_id, person_id, 'test', now(), now() + interval '1 day' FROM group_member;
INSERT INTO token (uid_key, uid) VALUES ('alpha01', 'ALPHA01'), ('beta01', 'BETA01');
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT t.token_key, t.uid_key, p.id, '2026-01-01'
      FROM token t JOIN person p ON p.given_name = 'driver ' || replace(t.uid_key, '01', '');
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     evse_id, connector_id, authorization_status, state, started_at, ended_at,
                     energy_wh)
    SELECT s.station_key * 10, s.client_id, s.site_id, s.station_key, '1', s.id || '-transaction',
           replace(s.id, '-station', '') || '01', 1, 1, 'Accepted', 'ended', '2026-10-01',
           '2026-10-02', 1000
      FROM station s;
INSERT INTO session_start (person_id, client_id, station_key, evse_id, uid_key, created_at, due_at)
    SELECT p.id, s.client_id, s.station_key, 1, t.uid_key, '2026-10-01', '2026-10-01'
      FROM station s JOIN token t ON t.uid_key = replace(s.id, '-station', '01')
      JOIN person p ON p.given_name = 'driver ' || replace(s.id, '-station', '')
     ORDER BY s.station_key;
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at,
                         lapses_at, created_at, created_by)
    SELECT person_id, client_id, station_key, 1, uid_key, '2026-12-01', '2026-12-02', '2026-12-02',
           now(), 'test' FROM session_start ORDER BY id;
INSERT INTO power_limit (client_id, site_id, limit_w, from_at, created_at)
    SELECT client_id, id, 7000, now(), now() FROM site;
INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at)
    SELECT station_key, 'ocpp1.6', 'Reset', '{"type":"Soft"}', 'operator', now(), now()
      FROM station;
INSERT INTO station_event (station_key, received_at, kind, content)
    SELECT station_key, now(), 'boot', '{}' FROM station;
INSERT INTO contract (client_id, client_class, devis_reference, starts_on, term_months)
    SELECT id, 'professionnel', name || '-devis', '2026-01-01', 36
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
                            monthly_management_fee_cents, yearly_subscription_cents,
                            monthly_telemetering_cents)
    SELECT client_id, id, starts_on, 0, 0, 0, 0 FROM contract;
INSERT INTO client_contact (client_id, name, email, purposes)
    SELECT id, name, name || '@example.org', '{statements}' FROM client WHERE NOT is_operator;
INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
    SELECT id, 'FR1420041010050500013M02606', name, 'test', now()
      FROM client WHERE NOT is_operator;
INSERT INTO receipt (source_key, person_id, amount_cents, received_on, booked_on, means,
                     body_sha256, created_at, created_by)
    SELECT family_name || '-bank', id, 100, '2026-11-02', '2026-11-02', 'transfer', '\\x00', now(),
           'test' FROM person WHERE given_name LIKE 'driver %' ORDER BY id;
INSERT INTO audit_entry (at, actor, action, subject, client_id)
    SELECT now(), 'test', 'filled', name, id FROM client WHERE NOT is_operator;
INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
    SELECT id, 'https://' || name || '.example.org', 'sealed', now(), 'test', now()
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO notification (event, at, client_id, person_id, subject)
    SELECT 'badge.activated', now(), 1, id, family_name || '-badge' FROM person
     WHERE family_name <> '';
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, created_at,
                                   next_at, give_up_at)
    SELECT id, client_id, 'email', person_id, at, at, at FROM notification;
INSERT INTO tariff (client_id, code, name)
    SELECT id, name || '-code', name || '-tariff' FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at, created_by)
    SELECT client_id, id, '2026-01-01',
           '{"elements": [{"price_components": [{"type": "ENERGY", "price": 0.35}]}]}', now(),
           'person ' || code
      FROM tariff;
INSERT INTO tariff_scope (client_id, tariff_id, site_id, from_at, created_at, created_by)
    SELECT t.client_id, t.id, s.id, '2026-01-01', now(), 'test'
      FROM tariff t JOIN site s USING (client_id);
INSERT INTO priced_session (session_id, client_id, month, supplied_on, site_id, station_key,
                            evse_id, person_id, tariff_version_id, vat_case, started_at,
                            ended_at, energy_wh,
                            amount_excl_cents, vat_cents, amount_incl_cents, is_estimated, lines,
                            priced_at)
    SELECT s.id, s.client_id, '2026-10-01', '2026-10-02', s.site_id, s.station_key, 1, p.id, v.id,
           'redevable', s.started_at, s.ended_at, 1000, 1000, 200, 1200, false, '[]', now()
      FROM session s JOIN tariff_version v USING (client_id) JOIN client c ON c.id = s.client_id
      JOIN person p ON p.given_name = 'driver ' || c.name;
INSERT INTO invoice_series (client_id, kind, year, prefix, last_number)
    SELECT id, 'invoice', 2026, name || '-F-2026-', 1 FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code, vat_case,
                     month, issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents,
                     effect_cents, effect_vat_cents, source_key, content, content_sha256,
                     created_at)
    SELECT 'client', s.client_id, p.person_id, s.id, 1, s.prefix || '000001', 380, 'redevable',
           '2026-10-01', '2026-11-02', '2026-12-02', 1000, 200, 1200, 1200, 200, s.prefix,
           replace(replace(:document, 'NAME', c.name), '"SESSION"', p.session_id::text), '', now()
      FROM invoice_series s JOIN client c ON c.id = s.client_id
      JOIN priced_session p ON p.client_id = c.id ORDER BY s.id;
INSERT INTO invoice_line (invoice_id, position, client_id, session_id, is_original,
                          amount_excl_cents, vat_cents, amount_incl_cents)
    SELECT i.id, 1, i.client_id, p.session_id, true, 1000, 200, 1200
      FROM invoice i JOIN priced_session p USING (client_id);
INSERT INTO invoice_file (invoice_id, client_id, format, content, sha256, created_at)
    SELECT i.id, i.client_id, format, number::bytea, sha256(number::bytea), now()
      FROM invoice i, unnest(ARRAY['pdf', 'xml']) format;
INSERT INTO own_sale (client_id, kind, label, amount_excl_cents, on_day, month, source_key,
                      created_at, created_by)
    SELECT id, 'intervention', name || '-sale', 500, '2026-10-12', '2026-10-01', name, now(), 'test'
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO statement (client_id, month, opening_cents, collected_cents, uncollected_cents,
                       commission_cents, fees_cents, offset_cents, adjustment_cents, disputed_cents,
                       net_cents, content, sha256, closed_at)
    SELECT id, '2026-10-01', 0, 0, 1200, 0, 0, 0, 0, 0, 0, replace(:statement, 'NAME', name), '',
           now() FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO statement_line (statement_id, client_id, position, kind, session_id, invoice_id,
                            amount_cents)
    SELECT s.id, s.client_id, 1, 'session', l.session_id, l.invoice_id, 1200
      FROM statement s JOIN invoice_line l USING (client_id) ORDER BY s.id;
INSERT INTO statement_event (statement_id, client_id, kind, at)
    SELECT id, client_id, kind, now() FROM statement, unnest(ARRAY['sent', 'delivered']) AS kind;
INSERT INTO dispute (client_id, statement_line_id, month, opened_at, opened_by, window_ends_on,
                     reason, held_cents)
    SELECT l.client_id, l.id, '2026-10-01', now(), 'person 1', '2026-11-12', c.name || '-reason', 0
      FROM statement_line l JOIN client c ON c.id = l.client_id ORDER BY l.id;
INSERT INTO payment_file (kind, account, message_id, execution_on, payments, total_cents, content,
                          sha256, is_simulated, created_at, created_by)
    VALUES ('payout', 'mandate', 'T2P-V-1', '2026-11-13', 2, 200, '<x/>', sha256('<x/>'), true,
            now(), 'test');
INSERT INTO payout (client_id, month, amount_cents, due_on, iban, holder, end_to_end_id, status,
                    file_id, created_at, created_by)
    SELECT c.id, '2026-10-01', 100, '2026-11-13', 'FR1420041010050500013M02606',
           c.name || '-holder', c.name || '-payout', 'draft', f.id, now(), 'test'
      FROM client c, payment_file f WHERE NOT c.is_operator ORDER BY c.id;
INSERT INTO payout_line (payout_id, client_id, position, kind, statement_id, amount_cents)
    SELECT p.id, p.client_id, 1, 'statement', s.id, 100
      FROM payout p JOIN statement s USING (client_id);
INSERT INTO payout_event (payout_id, client_id, status, at, by)
    SELECT id, client_id, status, now(), 'test' FROM payout;
INSERT INTO own_receipt (client_id, invoice_id, source_key, amount_cents, received_on, means,
                         created_at, created_by)
    SELECT i.client_id, i.id, c.name || '-own', 1, '2026-11-03', 'transfer', now(), 'test'
      FROM invoice i JOIN client c ON c.id = i.client_id;
INSERT INTO quote (client_id, reference, kind, label, total_excl_cents, deposit_rate, is_distance,
                   valid_until, status, created_at, created_by)
    SELECT id, name || '-quote', 'installation', 'Bornes', 500, 0.5, false, '2026-12-31', 'draft',
           now(), 'test'
      FROM client WHERE NOT is_operator ORDER BY id;
INSERT INTO quote_line (quote_id, client_id, position, label, quantity, unit_excl_cents,
                        amount_excl_cents)
    SELECT id, client_id, 1, reference, 1, 500, 500 FROM quote;
INSERT INTO quote_event (quote_id, client_id, status, at, by)
    SELECT id, client_id, 'offered', now(), 'test' FROM quote;
INSERT INTO late_payment (client_id, payout_id, month, principal_cents, paid_on, interest_cents,
                          indemnity_cents, spans, created_at, created_by)
    SELECT client_id, id, month, amount_cents, '2026-11-20', 1, 0, '[]', now(), 'test' FROM payout;
INSERT INTO supply (client_id, site_id, from_on, created_at, created_by)
    SELECT client_id, id, '2026-09-01', now(), 'test' FROM site ORDER BY client_id;
INSERT INTO lot (client_id, site_id, reference, created_at)
    SELECT client_id, site_id, split_part(site_id, '-', 1) || '-lot', now() FROM supply ORDER BY id;
INSERT INTO lot_point (lot_id, client_id, station_key, evse_id, from_on)
    SELECT l.id, l.client_id, s.station_key, 1, '2026-09-01'
      FROM lot l JOIN station s USING (client_id);
INSERT INTO lot_holding (client_id, lot_id, person_id, signed_on, provision_cents, from_on,
                         created_at, created_by)
    SELECT l.client_id, l.id, p.id, '2026-09-01', 500, '2026-09-01', now(), 'test'
      FROM lot l JOIN client c ON c.id = l.client_id
      JOIN person p ON p.given_name = 'driver ' || c.name ORDER BY l.id;
INSERT INTO supply_document (invoice_id, client_id, holding_id, person_id, kind, month, energy_wh,
                             energy_excl_cents, telemetering_excl_cents, amount_incl_cents,
                             created_at)
    SELECT min(i.id), h.client_id, h.id, h.person_id, 'bill', '2026-10-01', 1, 1, 1, 1, now()
      FROM lot_holding h JOIN invoice i USING (client_id) GROUP BY h.id;
INSERT INTO supply_session (session_id, invoice_id, client_id, energy_wh)
    SELECT s.id, d.invoice_id, d.client_id, 1
      FROM supply_document d JOIN session s USING (client_id);
INSERT INTO supply_provision (client_id, holding_id, person_id, kind, invoice_id, amount_cents,
                              vat_cents, source_key, created_at, created_by)
    SELECT client_id, holding_id, person_id, 'received', invoice_id, 600, 100,
           'received:' || holding_id, now(), 'test' FROM supply_document;
INSERT INTO supply_reading (client_id, site_id, at, index_wh, source, created_at, created_by)
    SELECT client_id, site_id, d::timestamptz, 1, split_part(site_id, '-', 1) || '-meter', now(),
           'test' FROM supply, unnest(ARRAY['2026-10-01', '2026-10-31']) AS d;
INSERT INTO availability_window (client_id, site_id, station_key, evse_id, kind, starts_at,
                                 ends_at, cause, created_at, created_by)
    SELECT client_id, site_id, station_key, 1, 'planned', '2026-10-01', '2026-10-02',
           replace(id, '-station', '-works'), now(), 'test' FROM station ORDER BY station_key;
INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w, created_at,
                              created_by)
    SELECT client_id, id, '2026-01-01', 36000, now(), 'test' FROM site ORDER BY client_id;
INSERT INTO sepa_mandate (reference, person_id, iban, holder, signed_on, created_at, created_by)
    SELECT family_name || '-mandate', id, 'DE89370400440532013000', family_name, '2026-01-05',
           now(), 'test' FROM person WHERE given_name LIKE 'driver %' ORDER BY id;
INSERT INTO direct_debit (mandate_id, client_id, person_id, invoice_id, amount_cents, notified_at,
                          collection_on, end_to_end_id, status)
    SELECT m.id, i.client_id, i.person_id, i.id, 1200, now(), '2026-12-01', i.number || '-1',
           'notified'
      FROM invoice i JOIN sepa_mandate m USING (person_id) ORDER BY i.id;
INSERT INTO reminder (client_id, invoice_id, person_id, due_since_on, level, amount_cents, sent_on,
                      sent_at, takes_effect_on)
    SELECT client_id, id, person_id, due_on, 0, 1200, '2026-01-05', now(), '2026-01-13'
      FROM invoice WHERE person_id IS NOT NULL ORDER BY id;
INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by)
    SELECT DISTINCT client_id, person_id, 100, now(), 'test' FROM reminder ORDER BY 1, 2;
INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id, amount_cents, told_at,
                                 added_at)
    SELECT b.id, b.client_id, r.id, r.invoice_id, 1200, '2026-01-05', '2026-12-31'
      FROM payment_block b JOIN reminder r USING (client_id, person_id);
INSERT INTO provider_method (person_id, provider, customer_reference, method_reference, created_at)
    SELECT DISTINCT person_id, 'stripe', 'cus_' || person_id, 'pm_' || person_id, now()
      FROM invoice WHERE person_id IS NOT NULL;
INSERT INTO provider_payment (key, provider, client_id, person_id, invoice_id, method_id,
                              amount_cents, status, is_simulated, created_at, checked_at)
    SELECT 't2p-' || i.id || '-1', 'stripe', i.client_id, i.person_id, i.id, m.id, 100,
           'authorised', true, now(), now()
      FROM invoice i JOIN provider_method m USING (person_id) ORDER BY i.id;
INSERT INTO provider_payment_event (payment_id, client_id, status, at)
    SELECT id, client_id, status, now() FROM provider_payment;
INSERT INTO outlet (name, last_error) VALUES ('qualicharge.session', 'away');
INSERT INTO outlet_item (outlet, client_id, object_key, source_key, kind, at, body, status, reply,
                         next_at, give_up_at, created_at, finished_at)
    SELECT 'qualicharge.session', client_id, site_id, site_id, 'session', now(),
           jsonb_build_object('site', site_id), 'dead', site_id, now(), now(), now(), now()
      FROM supply ORDER BY client_id;
"""

# The statement of either.
STATEMENT: Final = statement.to_json(
    statement.Statement(
        client_id=0,
        client_name="NAME-client",
        legal_name="NAME-legal",
        month=date(2026, 10, 1),
        contract_reference="NAME-contract",
        opening_cents=0,
        collected_cents=0,
        uncollected_cents=1200,
        commission=(),
        fees=(),
        offset_cents=0,
        adjustments=(),
        disputed_cents=0,
        vat_collected=(),
        net_cents=0,
        points=(),
        users=(),
        sessions=1,
        energy_wh=1000,
        billed_cents=1200,
        previous=None,
    )
)
WORLD: Final = _WORLD.replace(":document", "'" + DOCUMENT.replace("'", "''") + "'").replace(
    ":statement", "'" + STATEMENT.replace("'", "''") + "'"
)

# What stands for a part of an address: the value of A, and of B.
VALUES: Final = {
    "file_format": ("pdf", "pdf"),
    "month": ("2026-10", "2026-10"),
    "client_id": ("2", "3"),
    "site_id": ("alpha-site", "beta-site"),
    "station_id": ("alpha-station", "beta-station"),
    "uid": ("ALPHA01", "BETA01"),
    "session_id": ("10", "20"),
    "person_id": ("3", "4"),
    "point_id": ("AAAA22", "BETA22"),
    "option": ("gireve", "gireve"),
}


# The people of A and the operators, by their numbers.
NUMBERS: Final = {
    "manager": 1,
    "driver": 3,
    **{role: number for number, role in enumerate(principals.ROLES, start=5)},
}
# Who asks: what they did themselves is theirs to be told.
OURS: Final = ("person 1", "person 3", "key alpha")


async def log_everybody_in(connection: AsyncConnection[Any]) -> dict[str, str | None]:
    """What each kind of caller sends as its bearer: nobody, A's driver, manager and key, and an
    operator of each role."""
    bearers: dict[str, str | None] = {"nobody": None}
    for who, number in NUMBERS.items():
        bearers[who] = await log_in(connection, number)
    bearers["key of a client"], _ = await keys.create(
        connection, name="alpha", role="client", expires_at=None, client_id=2
    )
    return bearers


async def log_in(connection: Any, person_id: int) -> str:
    """An access token of the person, second factor and all; another one each time."""
    token = f"{principals.ACCESS_PREFIX}{chance.token_hex(8)}"
    await connection.execute(
        """
        INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at,
                                   second_factor_at, created_at, last_used_at, remote_address)
        VALUES (%s, 'api', %s, %s, %s, %s, %s, '')
        """,
        (person_id, principals.digest(token), NOW + timedelta(hours=1), NOW, NOW, NOW),
    )
    return token
