"""No request asks the database once per row: with one row and with two dozen it asks as often.

Every GET operation is called, as the application itself tells them, as an operator, a manager and a
driver: first with one of everything, then with two dozen. What is counted is what psycopg sends.
"""

import re
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Request
from psycopg import sql
from psycopg.errors import Diagnostic
from psycopg_pool import AsyncConnectionPool

from csms.config import Settings
from csms.db import Database, acting, connect
from csms.web.app import create_app
from csms.web.guard import Reader
from tests.scenarios.routes import Operation, operations
from tests.scenarios.two_clients import STATEMENT, log_in

ROWS: Final = 24  # less than a page: what only a second page needs is not asked for

# Who there is, once.
PEOPLE: Final = """
INSERT INTO person (email, given_name, operator_roles) VALUES
    ('manager@example.org', 'manager', '{}'), ('driver@example.org', 'driver', '{}'),
    ('operator@example.org', 'operator', '{read,operate,finance,admin}');
INSERT INTO driver (person_id) VALUES (2);
"""

# Row n of everything: of each list, and of each list below the first thing of its kind. A list that
# does not grow by this fails the test: add its rows here.
ROW: Final = """
INSERT INTO client (name) VALUES ('client-' || :n);
INSERT INTO client_manager (person_id, client_id, granted_by)
    SELECT 1, id, 'test' FROM client WHERE name = 'client-' || :n;
INSERT INTO client_contact (client_id, name, phone, purposes)
    VALUES (2, 'contact-' || :n, '0', '{}');
INSERT INTO client_vat (client_id, status, from_on, to_on)
    VALUES (2, 'non_assujetti', date '2026-01-01' + :n, date '2026-01-01' + :n + 1);
INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
    VALUES (2, 'FR1420041010050500013M02606', 'Exemple', 'test', now());
INSERT INTO contract (client_id, client_class, devis_reference, starts_on, term_months)
    VALUES (2, 'professionnel', 'draft-' || :n, '2026-01-01', 36);
INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on, term_months)
    SELECT id, 'professionnel', 'devis-' || :n, current_date - 1000, current_date - 1000, 36
      FROM client WHERE name = 'client-' || :n;
INSERT INTO contract_terms (client_id, contract_id, from_on, to_on, commission_rate,
                            monthly_management_fee_cents, yearly_subscription_cents,
                            monthly_telemetering_cents)
    VALUES (2, 1, date '2026-01-01' + :n, date '2026-01-01' + :n + 1, 0, 0, 0, 0);
INSERT INTO contract_option (client_id, contract_id, option, from_on, to_on)
    VALUES (2, 1, 'gireve', date '2026-01-01' + :n, date '2026-01-01' + :n + 1);
INSERT INTO site (id, client_id) VALUES ('site-' || :n, 2);
INSERT INTO power_limit (client_id, site_id, limit_w, from_at)
    VALUES (2, 'site-' || :n, 7000, now());
INSERT INTO station (id, client_id, site_id) VALUES ('station-' || :n, 2, 'site-1');
INSERT INTO evse (station_key, evse_id) VALUES (1, :n);
INSERT INTO connector (station_key, evse_id, connector_id) VALUES (1, :n, 1), (1, 1, 1 + :n);
INSERT INTO static_change (client_id, actor, kind, site_id, before, after)
    VALUES (2, 'test', 'site', 'site-1', '{}', '{}');
INSERT INTO static_change (client_id, actor, kind, site_id, station_id, before, after)
    VALUES (2, 'test', 'station', 'site-1', 'station-1', '{}', '{}');
INSERT INTO token (uid_key, uid) VALUES ('badge' || :n, 'BADGE' || :n);
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT token_key, uid_key, 2, '2026-01-01' FROM token WHERE uid = 'BADGE' || :n;
INSERT INTO unknown_token (uid_key, uid, station_key, first_seen_at, last_seen_at)
    VALUES ('stray' || :n, 'STRAY' || :n, 1, now(), now());
INSERT INTO driver_group (client_id, name, kind) VALUES (2, 'group-' || :n, 'residents');
INSERT INTO group_member (group_id, person_id) SELECT max(id), 2 FROM driver_group;
INSERT INTO group_access (group_id, client_id, site_id)
    SELECT max(id), 2, 'site-1' FROM driver_group;
INSERT INTO group_request (group_id, person_id, asked_by, asked_at, expires_at)
    SELECT max(id), 2, 'test', now(), now() + interval '30 days' FROM driver_group;
INSERT INTO session (id, client_id, site_id, station_key, start_key, transaction_id, token_uid,
                     evse_id, connector_id, authorization_status, state, started_at, ended_at,
                     energy_wh, readings_from_at, readings_to_at)
    VALUES (:n, 2, 'site-1', 1, :n, :n, 'BADGE' || :n, 1, 1, 'Accepted', 'ended', '2026-10-01',
            '2026-10-02', 1000, '2026-10-01', '2026-10-02');
INSERT INTO tariff (client_id, code, name) VALUES (2, 'tariff-' || :n, 'Tarif');
INSERT INTO tariff_version (client_id, tariff_id, from_at, to_at, content, created_at, created_by)
    VALUES (2, 1, timestamptz '2026-01-01' + :n * interval '1 day',
            timestamptz '2026-01-02' + :n * interval '1 day',
            '{"elements": [{"price_components": [{"type": "ENERGY", "price": 0.35}]}]}', now(),
            'test');
INSERT INTO tariff_scope (client_id, tariff_id, station_key, from_at, created_at, created_by)
    SELECT 2, 1, station_key, '2026-01-01', now(), 'test' FROM station WHERE id = 'station-' || :n;
INSERT INTO statement (client_id, month, opening_cents, collected_cents, uncollected_cents,
                       commission_cents, fees_cents, offset_cents, adjustment_cents, disputed_cents,
                       net_cents, content, sha256, closed_at)
    VALUES (2, date '2000-01-01' + make_interval(months => :n), 0, 0, 0, 0, 0, 0, 0, 0, 0,
            :statement, '', now());
INSERT INTO statement_event (statement_id, client_id, kind, at)
    SELECT max(id), 2, 'sent', now() FROM statement;
INSERT INTO statement_file (statement_id, client_id, format, language, content, sha256, created_at)
    SELECT max(id), 2, 'pdf', language, 'file', sha256('file'), now()
      FROM statement, unnest(ARRAY['fr', 'en']) AS language GROUP BY language;
INSERT INTO statement_line (statement_id, client_id, position, kind, amount_cents)
    VALUES (1, 2, :n, 'offset', -1);
INSERT INTO dispute (client_id, statement_line_id, month, opened_at, opened_by, window_ends_on,
                     reason, held_cents)
    SELECT 2, max(id), '2026-10-01', now(), 'test', '2026-11-12', 'Motif', 0 FROM statement_line;
INSERT INTO vat_rate (from_on, to_on, percent, source)
    VALUES (date '2000-01-01' + :n, date '2000-01-01' + :n + 1, 20, 'test');
INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
    VALUES (:n, '{Voltage}', '{""}', '{V}', '{""}', '{""}');
INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, session_id, profile_id,
                           samples)
    VALUES (1, '2026-10-01 12:00Z', :n, now(), now(), 1, :n, '{230}');
INSERT INTO ocpp_message (at, station_key, direction, protocol, action, message_id, frame, answer)
    VALUES (now(), 1, 'in', 'ocpp1.6', 'Heartbeat', :n, '[2,"1","Heartbeat",{}]', '[3,"1",{}]');
INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at)
    VALUES (1, 'ocpp1.6', 'Reset', '{"type":"Soft"}', 'operator', now(), now());
INSERT INTO station_event (station_key, received_at, kind, content, command_id)
    VALUES (1, now(), 'report', '{}', 1), (1, now(), 'security', '{"type": "Reboot"}', NULL);
INSERT INTO station_variable (station_key, component, variable, value, reported_at)
    VALUES (1, 'OCPPCommCtrlr', 'Variable' || :n, '300', now());
INSERT INTO deviation (station_key, kind, subject, sample, first_seen_at, last_seen_at)
    VALUES (1, 'number as text', :n, '"1"', now(), now());
INSERT INTO quirk (vendor, correction, decided_on, reason)
    VALUES (:n, 'wh_is_kwh', '2026-01-01', 'seen');
INSERT INTO reconciliation (station_key, received_at, reason, frame, digest)
    VALUES (1, now(), 'unknown transaction', '[2,"9","StopTransaction",{}]', :n);
INSERT INTO refused_connection (identity, reason, remote_address, first_seen_at, last_seen_at)
    VALUES (:n, 'unknown', '192.0.2.9', now(), now());
INSERT INTO outlet (name) VALUES ('qualicharge.' || repeat('a', :n));
INSERT INTO outlet_item (outlet, client_id, object_key, source_key, kind, at, body, next_at,
                         give_up_at, created_at)
    SELECT name, 2, :n, :n, 'session', now(), '{}', now(), now(), now()
      FROM outlet WHERE name = 'qualicharge.' || repeat('a', :n);
INSERT INTO ocpi_partner (slug, name, country_code, party_id, created_at, created_by)
    VALUES ('partner' || repeat('a', :n % 12) || repeat('b', :n / 12), 'Hub', 'FR', '107', now(),
            'test');
INSERT INTO node (name, started_at, seen_at) VALUES ('node-' || :n, now(), now());
INSERT INTO certificate_request (station_key, event_id, received_at, csr, subject, status)
    SELECT 1, max(id), now(), 'PEM', 'CN=station-1', 'waiting' FROM station_event;
INSERT INTO station_certificate (station_key, request_id, serial, fingerprint_sha256, subject,
                                 issuer, not_before, not_after, chain)
    VALUES (1, :n, :n, :n, 'CN=station-1', 'CN=CA', now(), now() + interval '1 year', 'PEM');
INSERT INTO audit_entry (at, actor, action, subject, client_id)
    VALUES (now(), 'test', 'filled', :n, 2);
INSERT INTO api_key (name, role, key_sha256) VALUES (:n, 'operator', int4send(:n));
INSERT INTO person (email, operator_roles) VALUES ('person-' || :n || '@example.org', '{read}');
INSERT INTO driver (person_id) SELECT max(id) FROM person;
INSERT INTO group_member (group_id, person_id) SELECT 1, max(person_id) FROM driver;
INSERT INTO group_access (group_id, client_id, site_id) VALUES (1, 2, 'site-' || :n);
INSERT INTO badge_order (person_id, ordered_at, ordered_by) VALUES (2, now(), 'test');
INSERT INTO receipt (source_key, person_id, amount_cents, received_on, booked_on, means,
                     body_sha256, created_at, created_by)
    VALUES ('bank:' || :n, 2, 100, '2026-11-02', '2026-11-02', 'transfer', '\\x00', now(), 'test');
INSERT INTO payment_means (person_id, kind, reference, from_at, to_at)
    VALUES (2, 'wallet', :n, timestamptz '2026-01-01' + :n * interval '1 day',
            timestamptz '2026-01-02' + :n * interval '1 day');
INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
    VALUES (2, 'https://example.org/' || :n, 'sealed', now(), 'test', now());
INSERT INTO notification (event, at, client_id, person_id) VALUES ('badge.activated', now(), 2, 2);
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, created_at,
                                   next_at, give_up_at)
    SELECT max(id), 2, 'email', 2, now(), now(), now() FROM notification;
INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at, created_at,
                           last_used_at, remote_address)
    SELECT id, 'api', convert_to('secret' || id || '-' || :n, 'utf8'), now() + interval '1 hour',
           now(), now(), ''
      FROM person WHERE id <= 3;
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at,
                         lapses_at, created_at, created_by)
    VALUES (2, 2, 1, :n, 'badge' || :n, '2026-10-01', '2026-10-02', '2026-10-02', now(), 'test');
UPDATE point SET code = 'AAAAA2' WHERE station_key = 1 AND evse_id = 1;
INSERT INTO session_start (person_id, client_id, station_key, evse_id, uid_key, created_at, due_at)
    VALUES (2, 2, 1, :n, 'badge' || :n, now(), now());
INSERT INTO point_watch (person_id, station_key, evse_id, created_at, expires_at)
    VALUES (2, 1, :n, now(), now() + interval '1 day');
INSERT INTO station_connection (station_key, node, generation, protocol, remote_address,
                                connected_at, last_seen_at)
    SELECT station_key, 'node-1', 1, 'ocpp1.6', '192.0.2.7', now(), now()
      FROM station WHERE id = 'station-' || :n;
INSERT INTO session_event (session_id, received_at, kind) VALUES (1, now(), 'corrected');
INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on, until_on)
    VALUES (2, 1, '2020-01-01', 'unpaid', date '2020-02-01' + :n, date '2020-02-01' + :n + 1);
INSERT INTO contract_letter (contract_id, client_id, sent_on)
    VALUES (1, 2, date '2020-01-01' + :n);
INSERT INTO consent (person_id, purpose, text_version, how, given_at, withdrawn_at)
    SELECT id, 'prospecting', '2026-11', 'page', now(), now() FROM person WHERE id <= 3;
INSERT INTO data_request (person_id, kind, state, received_at, received_by, due_on, finished_at)
    SELECT id, 'access', CASE :n WHEN 1 THEN 'received' ELSE 'done' END, now(), 'test',
           '2026-12-25', CASE :n WHEN 1 THEN NULL ELSE now() END
      FROM person WHERE id <= 3 ORDER BY id = 2 DESC;  -- the first one is the driver's
INSERT INTO retention_run (at, rule, rows) VALUES (now(), 'journal', :n);
INSERT INTO invoice_series (client_id, kind, year, prefix)
    VALUES (2, 'invoice', 2026, 'C00002-F-2026-') ON CONFLICT DO NOTHING;
INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code, vat_case,
                     month, issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents,
                     effect_cents, effect_vat_cents, source_key, content, content_sha256,
                     created_at)
    SELECT 'client', 2, 2, max(id), :n, 'invoice-' || :n, 380, 'franchise', '2026-10-01',
           '2026-11-02', '2026-12-02', 500, 0, 500, 500, 0, 'invoice-' || :n, '{}', '', now()
      FROM invoice_series;
INSERT INTO invoice_file (invoice_id, client_id, format, content, sha256, created_at)
    SELECT max(id), 2, 'pdf', 'file', sha256('file'), now() FROM invoice;
INSERT INTO own_sale (client_id, kind, label, amount_excl_cents, on_day, month, source_key,
                      created_at, created_by)
    VALUES (2, 'intervention', 'Intervention', 500, '2026-10-12', '2026-10-01', 'sale-' || :n,
            now(), 'test');
INSERT INTO invoice_line (invoice_id, position, client_id, own_sale_id, is_original,
                          amount_excl_cents, vat_cents, amount_incl_cents)
    SELECT 1, :n, 2, max(id), true, 500, 0, 500 FROM own_sale;
INSERT INTO invoice_mention (code, language, from_on, to_on, text, source)
    VALUES ('test', 'fr', date '2026-01-01' + :n, date '2026-01-01' + :n + 1, 'Texte', 'test');
INSERT INTO vat_rate (from_on, to_on, percent, source)
    VALUES (date '2001-01-01' + :n, date '2001-01-01' + :n + 1, 19.6, 'test');
INSERT INTO payment_file (kind, account, message_id, execution_on, payments, total_cents, content,
                          sha256, is_simulated, created_at, created_by)
    VALUES ('payout', 'mandate', 'T2P-V-' || :n, '2026-11-13', 1, 500, '<x/>', sha256('<x/>'), true,
            now(), 'test');
INSERT INTO payout (client_id, month, amount_cents, due_on, iban, holder, end_to_end_id, status,
                    file_id, created_at, created_by)
    SELECT 2, '2026-10-01', 500, '2026-11-13', 'FR1420041010050500013M02606', 'Exemple',
           'T2P-' || :n, 'draft', max(id), now(), 'test' FROM payment_file;
INSERT INTO payout_line (payout_id, client_id, position, kind, statement_id, amount_cents)
    SELECT min(p.id), 2, :n, 'statement', max(s.id), 500 FROM payout p, statement s;
INSERT INTO payout_event (payout_id, client_id, status, at, by)
    SELECT min(id), 2, 'draft', now(), 'test' FROM payout;
INSERT INTO quote (client_id, reference, kind, label, total_excl_cents, deposit_rate, is_distance,
                   valid_until, status, created_at, created_by)
    VALUES (2, 'D-' || :n, 'installation', 'Bornes', 500, 0.5, false, '2026-12-31', 'draft', now(),
            'test');
INSERT INTO quote_line (quote_id, client_id, position, label, quantity, unit_excl_cents,
                        amount_excl_cents)
    SELECT min(id), 2, :n, 'Borne', 1, 500, 500 FROM quote;
INSERT INTO own_sale (client_id, kind, label, amount_excl_cents, on_day, month, source_key,
                      created_at, created_by)
    VALUES (2, 'deposit', 'Acompte', 500, '2026-10-12', '2026-10-01', 'deposit-' || :n, now(),
            'test'), (2, 'deposit', 'Rendu', -500, '2026-10-12', '2026-10-01', 'refund-' || :n,
            now(), 'test');
INSERT INTO quote_sale (own_sale_id, client_id, quote_id, part, due_on)
    SELECT s.id, 2, q.id, split_part(s.source_key, '-', 1), '2026-11-20'
      FROM own_sale s, quote q
     WHERE s.source_key IN ('deposit-' || :n, 'refund-' || :n) AND q.reference = 'D-' || :n;
INSERT INTO invoice (issuer, client_id, series_id, sequence, number, type_code, vat_case, month,
                     issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents,
                     effect_cents, effect_vat_cents, source_key, content, content_sha256,
                     created_at)
    SELECT 'operator', 2, max(id), 2000 + :n, 'paid-' || :n, 380, 'redevable', '2026-01-01',
           '2026-01-02', '2036-01-10', 500, 0, 500, 500, 0, 'paid-' || :n, '{}', '', now()
      FROM invoice_series;
INSERT INTO invoice_line (invoice_id, position, client_id, own_sale_id, is_original,
                          amount_excl_cents, vat_cents, amount_incl_cents)
    SELECT max(i.id), 1, 2, max(s.id), true, 500, 0, 500
      FROM invoice i, own_sale s WHERE s.source_key = 'deposit-' || :n;
INSERT INTO own_receipt (client_id, invoice_id, source_key, amount_cents, received_on, means,
                         created_at, created_by)
    SELECT 2, max(id), 'paid-' || :n, 700, '2026-11-03', 'transfer', now(), 'test' FROM invoice;
INSERT INTO legal_rate (semester, particuliers, autres, source)
    VALUES ('20' || 30 + :n || '-S1', 1, 1, 'test');
INSERT INTO late_payment (client_id, payout_id, month, principal_cents, paid_on, interest_cents,
                          indemnity_cents, spans, created_at, created_by)
    SELECT 2, max(id), '2026-10-01', 500, '2026-11-20', 1, 0, '[]', now(), 'test' FROM payout;
INSERT INTO invoice (issuer, client_id, series_id, sequence, number, type_code, vat_case, month,
                     issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents,
                     effect_cents, effect_vat_cents, source_key, content, content_sha256,
                     created_at)
    SELECT 'operator', 2, max(id), 1000 + :n, 'own-' || :n, 380, 'redevable', '2026-01-01',
           '2026-01-02', '2026-01-10', 500, 0, 500, 500, 0, 'own-' || :n, '{}', '', now()
      FROM invoice_series;
INSERT INTO sepa_mandate (reference, person_id, iban, holder, signed_on, created_at, created_by,
                          revoked_at, revoked_by, revoked_for)
    VALUES ('RUM-' || :n, 2, 'DE89370400440532013000', 'Exemple', '2026-01-05', now(), 'test',
            now(), 'test', 'test');
INSERT INTO sepa_mandate (reference, client_id, iban, holder, signed_on, created_at, created_by,
                          revoked_at, revoked_by, revoked_for)
    VALUES ('RUM-C-' || :n, 2, 'DE89370400440532013000', 'Exemple', '2026-01-05', now(), 'test',
            now(), 'test', 'test');
INSERT INTO direct_debit (mandate_id, client_id, person_id, invoice_id, amount_cents, notified_at,
                          collection_on, end_to_end_id, status)
    SELECT 1, 2, 2, max(id), 500, now(), '2026-12-01', 'P-' || :n, 'notified' FROM invoice
     WHERE issuer = 'client';
INSERT INTO reminder (client_id, invoice_id, person_id, due_since_on, level, amount_cents, sent_on,
                      sent_at, takes_effect_on)
    SELECT 2, min(id), 2, date '2020-01-01' + :n, 0, 500, date '2020-03-01' + :n, now(),
           date '2020-04-01' + :n FROM invoice WHERE client_id = 2;
INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by, until_at)
    VALUES (2, 2, 100, now(), 'test', now());
INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id, amount_cents, told_at,
                                 added_at)
    SELECT max(b.id), 2, max(r.id), max(r.invoice_id), 500, '2026-01-05', '2036-12-31'
      FROM payment_block b, reminder r;
INSERT INTO bank_statement (account, reference, opening_cents, closing_cents, closing_on, sha256,
                            is_simulated, imported_at, imported_by)
    VALUES ('mandate', 'S-' || :n, 0, 500, '2026-11-13', '', true, now(), 'test');
INSERT INTO bank_line (statement_id, account, reference, amount_cents, booked_on, kind, remittance)
    SELECT max(id), 'mandate', 'L-' || :n, 500, '2026-11-13', 'transfer_in',
           'invoice-1 invoice-' || :n FROM bank_statement;
INSERT INTO bank_match (line_id, is_suspense, kind, subject, matched_at, matched_by)
    SELECT max(id), true, 'suspense', 'bank line', now(), 'test' FROM bank_line;
INSERT INTO supply (client_id, site_id, from_on, created_at, created_by)
    VALUES (2, 'site-' || :n, '2026-09-01', now(), 'test');
INSERT INTO lot (client_id, site_id, reference, created_at)
    VALUES (2, 'site-1', 'lot-' || :n, now());
INSERT INTO lot_point (lot_id, client_id, station_key, evse_id, from_on)
    SELECT max(id), 2, 1, :n, '2026-09-01' FROM lot;
INSERT INTO lot_holding (client_id, lot_id, person_id, signed_on, provision_cents, from_on,
                         created_at, created_by)
    SELECT 2, max(id), 2, '2026-09-01', 500, '2026-09-01', now(), 'test' FROM lot;
INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code, vat_case,
                     month, issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents,
                     effect_cents, effect_vat_cents, source_key, content, content_sha256,
                     created_at)
    SELECT 'operator', 2, 2, max(id), 3000 + :n, 'supply-' || :n, 380, 'redevable', '2026-10-01',
           '2026-11-02', '2036-01-10', 500, 0, 500, 500, 0, 'supply-' || :n, '{}', '', now()
      FROM invoice_series;
INSERT INTO supply_document (invoice_id, client_id, holding_id, person_id, kind, month, energy_wh,
                             energy_excl_cents, telemetering_excl_cents, amount_incl_cents,
                             created_at)
    SELECT max(i.id), 2, max(h.id), 2, 'bill', '2026-10-01', 1, 250, 250, 500, now()
      FROM invoice i, lot_holding h;
INSERT INTO invoice_line (invoice_id, position, client_id, holding_id, is_original,
                          amount_excl_cents, vat_cents, amount_incl_cents)
    SELECT max(invoice_id), 1, 2, max(holding_id), true, 500, 0, 500 FROM supply_document;
INSERT INTO own_receipt (client_id, invoice_id, source_key, amount_cents, received_on, means,
                         created_at, created_by)
    SELECT 2, max(invoice_id), 'supply-' || :n, 700, '2026-11-03', 'transfer', now(), 'test'
      FROM supply_document;
INSERT INTO supply_reading (client_id, site_id, at, index_wh, source, created_at, created_by)
    VALUES (2, 'site-1', timestamptz '2026-10-01' + :n * interval '1 day', :n, 'test', now(),
            'test');
INSERT INTO availability_window (client_id, site_id, kind, starts_at, ends_at, cause, created_at,
                                 created_by)
    VALUES (2, 'site-1', 'planned', timestamptz '2026-10-01' + :n * interval '1 day', '2026-12-01',
            'Travaux', now(), 'test');
INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w, created_at,
                              created_by)
    VALUES (2, 'site-1', date '2026-10-01' + :n, 36000, now(), 'test');
INSERT INTO provider_method (person_id, provider, customer_reference, method_reference,
                             created_at, revoked_at)
    VALUES (2, 'stripe', 'cus_1', 'pm_1', now(), now());
INSERT INTO provider_payment (key, provider, client_id, person_id, invoice_id, method_id,
                              amount_cents, status, is_simulated, created_at, checked_at)
    SELECT 'pay-' || :n, 'stripe', 2, 2, max(i.id), max(m.id), 500, 'failed', true, now(), now()
      FROM invoice i, provider_method m WHERE i.issuer = 'client';
INSERT INTO provider_payment_event (payment_id, client_id, status, at)
    SELECT max(id), 2, 'failed', now() FROM provider_payment;
-- In the archive: the driver, and those who had the first badge before.
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at, to_at)
    SELECT token_key, uid_key, (SELECT max(id) FROM person), date '2025-01-01' + :n,
           date '2025-01-01' + :n + 1
      FROM token WHERE uid = 'BADGE1';
INSERT INTO archived_person (person_id, identity, archived_at, kept_until)
    SELECT id, '{}', now(), '2036-11-30' FROM person
     WHERE id IN (2, (SELECT max(id) FROM person)) ON CONFLICT DO NOTHING;
"""

# What stands for a part of an address, where 1 is not it.
VALUES: Final = {
    "client_id": "2",
    "file_format": "pdf",
    "month": "2026-10",
    "site_id": "site-1",
    "station_id": "station-1",
    "uid": "BADGE1",
    "option": "gireve",
    "point_id": "AAAAA2",
}
DRIVER: Final = 2  # the manager's number is 1
# What operations insist on being asked with, and what the archive needs to open on somebody.
REQUIRED: Final = {
    "leaves_on": "2027-01-01",
    "from_on": "2026-10-01",
    "to_on": "2026-12-31",
    "reason": "asked by the tax office",
    **VALUES,
}
BESIDE: Final = {"GET /api/v1/archive/sessions": {"token_uid": "BADGE1"}}

# Lists that stay as they are, however much there is.
FIXED: Final = {
    "GET /api/v1/clients/{client_id}/services": "there are as many as a contract can open",
    "GET /api/v1/contracts/{contract_id}/dates": "there are as many as the law and its term make",
    "GET /api/v1/me/payment-blocks": "a row for each client that blocks her, one statement for all",
    "GET /api/v1/notifications/events": "they are the catalogue's",
    "GET /api/v1/bank-lines/{line_id}/suggestions": "there are five at most",
}


class Statements:
    """What psycopg is told to send, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        for name in ("execute", "executemany", "stream", "copy"):
            self._watch(monkeypatch, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        true = getattr(psycopg.AsyncCursor, name)

        def watched(cursor: Any, query: Any, *arguments: Any, **named: Any) -> Any:
            self.sent.append(" ".join(str(query).split()))
            return true(cursor, query, *arguments, **named)

        monkeypatch.setattr(psycopg.AsyncCursor, name, watched)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


@pytest.fixture
def app(pool: AsyncConnectionPool, people: AsyncConnectionPool, settings: Settings) -> FastAPI:
    return create_app(pool, settings, people=people)


@pytest.fixture
async def clients(
    app: FastAPI, database: Database, pool: AsyncConnectionPool
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client of each kind; one row of everything."""
    async with await connect(database, owner=True) as owner:
        await owner.execute(PEOPLE.encode())
    await add_rows(database, 1, 1)
    async with pool.connection() as connection:
        bearers = {
            who: await log_in(connection, number)
            for number, who in enumerate(("manager", "driver", "operator"), start=1)
        }
        # Once a minute a request notes that the log-in was used: no minute passes here.
        await connection.execute("UPDATE login_session SET last_used_at = now() + interval '1 day'")
    opened = {
        who: httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://test",
            headers={"Authorization": f"Bearer {bearer}"},
        )
        for who, bearer in bearers.items()
    }
    yield opened
    for client in opened.values():
        await client.aclose()


async def add_rows(database: Database, first: int, last: int) -> None:
    async with await connect(database, owner=True) as owner:
        for n in range(first, last + 1):
            row = ROW.replace(":n", str(n)).replace(":statement", f"'{STATEMENT}'")
            await owner.execute(row.encode())


def address(app: FastAPI, operation: Operation) -> str:
    """The operation's address at the first thing of its kind, with what it insists on."""
    path = operation.path.replace("drivers/{person_id}", f"drivers/{DRIVER}")
    path = re.sub(r"\{([^}:]+)[^}]*\}", lambda match: VALUES.get(match[1], "1"), path)
    described = app.openapi()["paths"].get(operation.path.replace(":path", ""), {})
    asked = described.get("get", {}).get("parameters", [])
    query = BESIDE.get(str(operation), {}) | {
        one["name"]: REQUIRED[one["name"]]
        for one in asked
        if one["in"] == "query" and one.get("required")
    }
    return str(httpx.URL(path, params=query)) if query else path


def asked_for(app: FastAPI) -> list[Operation]:
    """Every GET but those that go on for as long as something happens, asking at their own pace."""
    found = []
    for operation in operations(app):
        described = app.openapi()["paths"].get(operation.path.replace(":path", ""), {})
        content = described.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if operation.method == "GET" and "text/event-stream" not in content:
            found.append(operation)
    return found


Asked = dict[tuple[str, str], tuple[int | None, list[str]]]


async def ask_all(
    app: FastAPI, clients: dict[str, httpx.AsyncClient], statements: Statements
) -> Asked:
    """Of each operation and caller that is answered: length of the list, None where it is none (one
    thing, a file), and the statements sent."""
    asked: Asked = {}
    for operation in asked_for(app):
        for who, client in clients.items():
            statements.sent.clear()
            answer = await client.get(address(app, operation))
            assert answer.status_code < 500, f"{operation} as {who}: {answer.text[:300]}"
            if answer.status_code == 200:
                asked[str(operation), who] = (length_of(answer), list(statements.sent))
    return asked


def length_of(answer: httpx.Response) -> int | None:
    """Rows of a list; None: it is none."""
    if answer.headers["Content-Type"] != "application/json":
        return None
    found = answer.json()
    items = found.get("items") if isinstance(found, dict) else found
    return len(items) if isinstance(items, list) else None


def sent_more(few: Asked, many: Asked) -> list[str]:
    """Who was answered with more statements when there were more rows."""
    return [
        f"{operation} as {who}: {len(few[operation, who][1])} statements, then {len(sent)}: "
        f"{sent[-1][:200]}"
        for (operation, who), (_, sent) in many.items()
        if len(sent) != len(few[operation, who][1])
    ]


async def test_two_dozen_rows_are_read_with_as_many_statements_as_one(
    app: FastAPI,
    database: Database,
    clients: dict[str, httpx.AsyncClient],
    statements: Statements,
) -> None:
    few = await ask_all(app, clients, statements)
    await add_rows(database, 2, ROWS)
    many = await ask_all(app, clients, statements)
    assert few.keys() == many.keys()
    answered = {operation for operation, _ in many}
    unanswered = [o for o in map(str, asked_for(app)) if o not in answered]
    assert unanswered == [], "nobody was answered: add what they ask for"
    assert sent_more(few, many) == []
    lists = {operation for (operation, _), (length, _) in many.items() if length is not None}
    grown = {
        operation
        for (operation, who), (length, _) in many.items()
        if length is not None and length - (few[operation, who][0] or 0) >= ROWS - 1
    }
    assert sorted(lists - grown) == sorted(FIXED), "lists that did not grow: add rows for them"
    assert {who for _, who in many} == set(clients)


async def test_a_query_per_row_is_found(
    app: FastAPI,
    database: Database,
    clients: dict[str, httpx.AsyncClient],
    statements: Statements,
) -> None:
    async def careless(request: Request, reader: Reader) -> dict[str, list[str]]:
        items = []
        async with reader.connection() as connection:
            cursor = await connection.execute("SELECT id FROM site")
            for (site_id,) in await cursor.fetchall():
                await connection.execute("SELECT name FROM site WHERE id = %s", (site_id,))
                items.append(site_id)
        return {"items": items}

    app.add_api_route("/api/v1/careless", careless)
    few = await ask_all(app, clients, statements)
    await add_rows(database, 2, 3)
    many = await ask_all(app, clients, statements)
    found = sent_more(few, many)
    assert [line.split(":")[0] for line in found] == [
        "GET /api/v1/careless as manager",
        "GET /api/v1/careless as operator",
    ]


# Tells whenever it is asked; row-level security asks it on behalf of whoever reads.
TELLING: Final = """
CREATE OR REPLACE FUNCTION managed_clients() RETURNS bigint[] LANGUAGE plpgsql STABLE
    SECURITY DEFINER SET search_path FROM CURRENT
    AS $$ BEGIN RAISE WARNING 'asked'; RETURN '{2}'::bigint[]; END $$
"""


@pytest.mark.parametrize("table", ["token", "driver_badge", "person", "session", "badge_order"])
async def test_the_database_does_not_ask_for_each_row_either_who_manages_what(
    clients: dict[str, httpx.AsyncClient],
    database: Database,
    people: AsyncConnectionPool,
    table: str,
) -> None:
    async def asked() -> int:
        told: list[Diagnostic] = []
        async with acting(people, person_id=1) as connection:
            connection.add_notice_handler(told.append)
            await connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(table)))
            connection.remove_notice_handler(told.append)
        return len(told)

    async with await connect(database, owner=True) as owner:
        await owner.execute(TELLING)
    few = await asked()
    await add_rows(database, 2, ROWS)
    assert await asked() == few > 0


def test_every_fixed_list_names_an_operation(app: FastAPI) -> None:
    assert set(FIXED) <= {str(operation) for operation in operations(app)}
