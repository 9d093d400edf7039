-- One row or more in every table of csms, written with the rights of the application's role.
-- For tests of upgrades, backups and grants; the sums in them count on these values.
INSERT INTO client (name) VALUES ('Copropriété des Tilleuls');
INSERT INTO site (id, client_id, name)
    SELECT 'tilleuls', id, 'Parking B1' FROM client WHERE NOT is_operator;
INSERT INTO station (id, client_id, site_id, protocol)
    SELECT 'CP-1', id, 'tilleuls', 'ocpp1.6' FROM client WHERE NOT is_operator;
INSERT INTO evse (station_key, evse_id) SELECT station_key, 1 FROM station;
INSERT INTO connector (station_key, evse_id, connector_id) SELECT station_key, 1, 1 FROM station;
INSERT INTO station_connection
        (station_key, node, generation, protocol, remote_address, connected_at, last_seen_at)
    SELECT station_key, 'node-1', 1, 'ocpp1.6', '192.0.2.7', now(), now() FROM station;
INSERT INTO station_link (station_key, at, up, node)
    SELECT station_key, now(), true, 'node-1' FROM station;
INSERT INTO token (uid_key, uid) VALUES ('04ab', '04AB');
INSERT INTO unknown_token (uid_key, uid, station_key, first_seen_at, last_seen_at)
    SELECT 'ffff', 'FFFF', station_key, now(), now() FROM station;
INSERT INTO session (id, client_id, station_key, start_key, transaction_id, authorization_status,
        state, started_at, ended_at, energy_wh, token_uid)
    SELECT nextval('session_block_seq') * 1000, client_id, station_key, 'k1', '1', 'accepted',
           'ended', '2026-10-01 08:00Z', '2026-10-01 10:00Z', 7400, '04AB' FROM station;
INSERT INTO session_event (session_id, received_at, kind, frame)
    SELECT id, ended_at, 'ended', '[2,"1","StopTransaction",{}]' FROM session;
INSERT INTO meter_profile (key, measurands, phases, units, contexts, locations)
    VALUES ('p', '{Energy.Active.Import.Register,Voltage}', '{"",L1}', '{Wh,V}', '{"",""}', '{"",""}');
INSERT INTO meter_reading (station_key, stated_at, digest, at, received_at, profile_id, samples, texts)
    SELECT station_key, now(), 1, now(), now(), p.id, '{1234.5,NaN}', '{"1": "n/a"}'
      FROM station, meter_profile p;
INSERT INTO evse_status (station_key, at, received_at, evse_id, status)
    SELECT station_key, now(), now(), 1, 'available' FROM station;
INSERT INTO ocpp_message (at, station_key, direction, protocol, action, message_id, frame, answer)
    SELECT now(), station_key, 'in', 'ocpp1.6', 'Heartbeat', '1', '[2,"1","Heartbeat",{}]', '[3,"1",{}]'
      FROM station;
INSERT INTO power_limit (client_id, site_id, limit_w, from_at)
    SELECT client_id, id, 22000, now() FROM site;
INSERT INTO command (station_key, protocol, action, payload, origin, created_at, expires_at)
    SELECT station_key, 'ocpp1.6', 'Reset', '{"type":"Soft"}', 'operator', now(), now() + interval '1h'
      FROM station;
INSERT INTO station_event (station_key, received_at, kind, content)
    SELECT station_key, now(), 'boot', '{"reason": "PowerUp"}' FROM station;
INSERT INTO deviation (station_key, kind, subject, sample, first_seen_at, last_seen_at)
    SELECT station_key, 'number as text', 'MeterValues.value', '"1"', now(), now() FROM station;
INSERT INTO quirk (vendor, correction, decided_on, reason)
    VALUES ('Acme', 'wh_is_kwh', '2026-01-01', 'seen in the field');
INSERT INTO reconciliation (station_key, received_at, reason, frame, digest)
    SELECT station_key, now(), 'unknown transaction', '[2,"9","StopTransaction",{}]', 9 FROM station;
INSERT INTO refused_connection (identity, reason, remote_address, first_seen_at, last_seen_at)
    VALUES ('CP-9', 'unknown', '192.0.2.9', now(), now());
INSERT INTO api_key (name, role, key_sha256) VALUES ('test', 'operator', '\x00');
INSERT INTO node (name, started_at, seen_at) VALUES ('node-1', now(), now());
INSERT INTO local_authorization (station_key) SELECT station_key FROM station;
INSERT INTO certificate_request (station_key, event_id, received_at, csr, subject, status)
    SELECT station_key, id, received_at, 'PEM', 'CN=CP-1', 'waiting' FROM station_event;
INSERT INTO station_certificate (station_key, request_id, serial, fingerprint_sha256, subject,
                                 issuer, not_before, not_after, chain)
    SELECT station_key, id, '0a', 'ff', 'CN=CP-1', 'CN=CA', now(), now() + interval '1 year', 'PEM'
      FROM certificate_request;
INSERT INTO station_variable (station_key, component, variable, value, reported_at)
    SELECT station_key, 'OCPPCommCtrlr', 'HeartbeatInterval', '300', now() FROM station;
DO $$ BEGIN  -- elsewhere these are views
    IF EXISTS (SELECT FROM schema_storage WHERE kind = 'native') THEN
        INSERT INTO message_rollup SELECT station_key, 'in', 'Heartbeat', '2026-10-01', 1, 1 FROM station;
        INSERT INTO status_rollup SELECT station_key, 1, 'available', '2026-10-01', 1 FROM station;
        INSERT INTO reading_rollup SELECT station_key, 1, '2026-10-01', 1, now(), now() FROM station;
    END IF;
END $$;
INSERT INTO person (email) VALUES ('someone@example.org');
INSERT INTO client_manager (person_id, client_id, granted_by) VALUES (1, 1, 'test');
INSERT INTO login_session (person_id, kind, secret_sha256, secret_expires_at, created_at,
                           last_used_at, remote_address)
    VALUES (1, 'page', '\x01', now(), now(), now(), '127.0.0.1');
INSERT INTO one_time_link (person_id, purpose, token_sha256, created_at, expires_at)
    VALUES (1, 'reset', '\x01', now(), now());
INSERT INTO login_failure VALUES ('\x01', 1, now(), now());
INSERT INTO trusted_device VALUES (1, '\x01', now(), now());
INSERT INTO audit_entry (at, actor, action) VALUES (now(), 'test', 'filled');
INSERT INTO driver (person_id) VALUES (1);
INSERT INTO payment_means (person_id, kind, reference) VALUES (1, 'wallet', 'W-1');
INSERT INTO driver_group (client_id, name, kind)
    SELECT id, 'Residents', 'residents' FROM client WHERE NOT is_operator;
INSERT INTO group_member (group_id, person_id) VALUES (1, 1);
INSERT INTO group_request (group_id, person_id, asked_by, asked_at, expires_at)
    VALUES (1, 1, 'test', now(), now() + interval '1 day');
INSERT INTO group_access (group_id, client_id, site_id) SELECT 1, client_id, id FROM site;
INSERT INTO driver_badge (token_key, uid_key, person_id, from_at)
    SELECT token_key, uid_key, 1, '2026-01-01' FROM token;
INSERT INTO badge_order (person_id, ordered_at, ordered_by) VALUES (1, now(), 'test');
INSERT INTO static_change (client_id, actor, kind, site_id, before, after)
    SELECT client_id, 'test', 'site', id, '{}', '{"name": ""}' FROM site;
UPDATE client SET class = 'non_professionnel', siren = '732829320', street = '1 rue Exemple',
    postal_code = '75001', city = 'Paris', country = 'FR' WHERE NOT is_operator;
INSERT INTO client_contact (client_id, name, email, purposes)
    SELECT id, 'Syndic Exemple', 'syndic@example.org', '{statements}' FROM client WHERE NOT is_operator;
INSERT INTO client_vat (client_id, status, from_on)
    SELECT id, 'non_assujetti', '2026-01-01' FROM client WHERE NOT is_operator;
INSERT INTO client_iban (client_id, iban, holder, entered_by, entered_at)
    SELECT id, 'FR1420041010050500013M02606', 'Exemple', 'key desk', now()
      FROM client WHERE NOT is_operator;
INSERT INTO contract (client_id, client_class, devis_reference, signed_on, starts_on, term_months)
    SELECT id, class, 'D-1', '2026-01-01', '2026-01-15', 36 FROM client WHERE NOT is_operator;
INSERT INTO contract_suspension (client_id, contract_id, received_on, reason, from_on, until_on)
    SELECT client_id, id, '2026-02-01', 'unpaid', '2026-02-09', '2026-02-20' FROM contract;
INSERT INTO contract_letter (contract_id, client_id, sent_on)
    SELECT id, client_id, '2028-08-01' FROM contract;
INSERT INTO contract_terms (client_id, contract_id, from_on, commission_rate,
        monthly_management_fee_cents, yearly_subscription_cents, monthly_telemetering_cents,
        energy_price_eur_per_kwh)
    SELECT client_id, id, '2026-01-15', 0.05, 2500, 120000, 900, 0.2016 FROM contract;
INSERT INTO contract_option (client_id, contract_id, option, from_on)
    SELECT client_id, id, 'remote_maintenance', '2026-01-15' FROM contract;
INSERT INTO webhook (client_id, url, secret, created_at, created_by, updated_at)
    VALUES (1, 'https://example.org/hook', '\x01', now(), 'test', now());
INSERT INTO notification (event, at, person_id) VALUES ('account.closed', now(), 1);
INSERT INTO notification_delivery (notification_id, client_id, channel, person_id, created_at,
                                   next_at, give_up_at)
    SELECT id, client_id, 'email', person_id, at, at, at FROM notification;
INSERT INTO notification_preference VALUES (1, 'charging_ended', 'email', false, now());
INSERT INTO quiet_hours (person_id, from_minute, to_minute, updated_at) VALUES (1, 1320, 420, now());
INSERT INTO point_watch (person_id, site_id, created_at, expires_at)
    SELECT 1, id, now(), now() + interval '1 day' FROM site;
INSERT INTO session_start (person_id, client_id, station_key, evse_id, uid_key, created_at, due_at)
    SELECT 1, client_id, station_key, 1, '04ab', now(), now() FROM station;
INSERT INTO reservation (person_id, client_id, station_key, evse_id, uid_key, from_at, to_at, lapses_at,
                         created_at, created_by)
    SELECT 1, client_id, station_key, 1, '04ab', '2026-10-01', '2026-10-02', '2026-10-02', now(), 'test'
      FROM station;
INSERT INTO consent (person_id, purpose, text_version, how, given_at)
    VALUES (1, 'prospecting', '2026-11', 'page', now());
INSERT INTO data_request (person_id, kind, received_at, received_by, due_on)
    VALUES (1, 'access', now(), 'person 1', '2026-12-25');
INSERT INTO retention_run (at, rule, rows) VALUES (now(), 'journal', 0);
INSERT INTO archived_person VALUES (1, '{"given_name": "Someone"}', now(), '2036-11-30');
INSERT INTO tariff (client_id, code, name) SELECT id, 'T1', 'Tarif' FROM client WHERE NOT is_operator;
INSERT INTO tariff_version (client_id, tariff_id, from_at, content, created_at, created_by)
    SELECT client_id, id, '2026-01-01', '{"elements": []}', now(), 'test' FROM tariff;
INSERT INTO tariff_scope (client_id, tariff_id, from_at, created_at, created_by)
    SELECT client_id, id, '2026-01-01', now(), 'test' FROM tariff;
INSERT INTO priced_session (session_id, client_id, month, supplied_on, station_key, evse_id, person_id,
        tariff_version_id, vat_case, started_at, ended_at, energy_wh, amount_excl_cents, vat_cents,
        amount_incl_cents, is_estimated, lines, priced_at)
    SELECT s.id, s.client_id, '2026-10-01', '2026-10-01', s.station_key, 1, 1, v.id, 'non_assujetti',
           s.started_at, s.ended_at, 7400, 259, 0, 259, false, '[]', now()
      FROM session s, tariff_version v;
INSERT INTO billing_problem (stage, subject, client_id, cause, message, remedy, first_at, last_at)
    SELECT 'close', 'client 1', id, 'vat_status_missing', 'm', 'r', now(), now()
      FROM client WHERE NOT is_operator;
INSERT INTO invoice_series (client_id, kind, year, prefix, last_number)
    SELECT id, 'invoice', 2026, 'C00001-F-2026-', 1 FROM client WHERE NOT is_operator;
INSERT INTO invoice (issuer, client_id, person_id, series_id, sequence, number, type_code, vat_case,
        month, issued_on, due_on, amount_excl_cents, vat_cents, amount_incl_cents, effect_cents,
        effect_vat_cents, source_key, content, content_sha256, created_at)
    SELECT 'client', client_id, 1, id, 1, prefix || '000001', 380, 'non_assujetti', '2026-10-01',
           '2026-11-02', '2026-11-10', 259, 0, 259, 259, 0, 'session:1', '{}', sha256('{}'), now()
      FROM invoice_series;
INSERT INTO own_sale (client_id, kind, label, amount_excl_cents, on_day, month, source_key, created_at,
        created_by)
    SELECT id, 'management_fee', 'Frais de gestion', 2500, '2026-10-31', '2026-10-01', 'fee:1:2026-10',
           now(), 'test' FROM client WHERE NOT is_operator;
INSERT INTO invoice_line (invoice_id, position, client_id, session_id, is_original, amount_excl_cents,
        vat_cents, amount_incl_cents)
    SELECT i.id, 1, i.client_id, p.session_id, true, 259, 0, 259 FROM invoice i, priced_session p;
INSERT INTO invoice_file (invoice_id, client_id, format, content, sha256, created_at)
    SELECT id, client_id, 'xml', '<x/>', sha256('<x/>'), now() FROM invoice;
INSERT INTO invoice_availability SELECT id, client_id, now() FROM invoice;
INSERT INTO platform_file (client_id, kind, invoice_id, source_key, name, sha256, laid_at)
    SELECT client_id, 'invoice', id, 'invoice:1', 'f.pdf', '\x00', now() FROM invoice;
INSERT INTO invoice_mention VALUES ('test', 'fr', '2026-01-01', NULL, 'Texte', 'test');
INSERT INTO receipt (source_key, person_id, invoice_id, client_id, amount_cents, received_on, booked_on,
        means, body_sha256, created_at, created_by)
    SELECT 'bank:1', 1, id, client_id, 259, '2026-11-03', '2026-11-03', 'transfer', '\x00', now(), 'test'
      FROM invoice;
INSERT INTO receipt_share (receipt_id, client_id, invoice_id, session_id, amount_cents, booked_on,
        created_at)
    SELECT r.id, r.client_id, r.invoice_id, l.session_id, 259, r.booked_on, now()
      FROM receipt r JOIN invoice_line l USING (invoice_id);
INSERT INTO statement (client_id, month, opening_cents, collected_cents, uncollected_cents,
        commission_cents, fees_cents, offset_cents, adjustment_cents, disputed_cents, net_cents,
        content, sha256, closed_at)
    SELECT id, '2026-10-01', 0, 0, 259, 0, 0, 0, 0, 0, 0, '{}', sha256('{}'), now()
      FROM client WHERE NOT is_operator;
INSERT INTO statement_line (statement_id, client_id, position, kind, session_id, invoice_id, amount_cents)
    SELECT s.id, s.client_id, 1, 'session', p.session_id, i.id, 259
      FROM statement s, priced_session p, invoice i;
INSERT INTO statement_file (statement_id, client_id, format, language, content, sha256, created_at)
    SELECT id, client_id, 'json', 'fr', '{}', sha256('{}'), now() FROM statement;
INSERT INTO statement_event (statement_id, client_id, kind, at) SELECT id, client_id, 'sent', now() FROM statement;
INSERT INTO dispute (client_id, statement_line_id, month, opened_at, opened_by, window_ends_on, reason,
        held_cents)
    SELECT client_id, id, '2026-10-01', now(), 'person 1', '2026-11-12', 'Durée inexacte', 0
      FROM statement_line;
INSERT INTO ledger_chain (chain_key) SELECT id FROM client WHERE NOT is_operator;
INSERT INTO ledger_account (code, kind, client_id, general_account, label)
    SELECT code || id, kind, id, general_account, 'Compte'
      FROM client, (VALUES ('receivable:drivers:', 'memo', '467100'),
                           ('uncollected:', 'memo', '467200')) AS a (code, kind, general_account)
     WHERE NOT is_operator;
INSERT INTO ledger_entry (chain_key, sequence, source_key, kind, booked_on, client_id, label, body_sha256,
        previous_sha256, sha256, created_at)
    SELECT id, 1, 'invoice:1', 'invoice', '2026-11-02', id, 'Facture', '\x00', '\x', '\x00', now()
      FROM client WHERE NOT is_operator;
INSERT INTO ledger_posting (entry_id, position, account_id, amount_cents)
    SELECT e.id, n.n, a.id, n.amount FROM ledger_entry e,
           (VALUES (1, 'receivable%', 259), (2, 'uncollected%', -259)) AS n (n, code, amount)
      JOIN ledger_account a ON a.code LIKE n.code;
INSERT INTO ledger_closing SELECT chain_key, '2026-09-01', now() FROM ledger_chain;
INSERT INTO payment_file (kind, account, message_id, execution_on, payments, total_cents, content, sha256,
        is_simulated, created_at, created_by)
    SELECT kind, 'mandate', 'T2P-' || kind, '2026-11-13', 1, 100, '<x/>', sha256('<x/>'), true, now(), 'test'
      FROM unnest(ARRAY['payout', 'debit']) AS kind;
INSERT INTO payout (client_id, month, amount_cents, due_on, iban, holder, end_to_end_id, status, file_id,
        created_at, created_by)
    SELECT s.client_id, s.month, 100, '2026-11-13', 'FR1420041010050500013M02606', 'SDC', 'T2P-2026-10-1',
           'draft', f.id, now(), 'test'
      FROM statement s, payment_file f WHERE f.kind = 'payout';
INSERT INTO payout_line (payout_id, client_id, position, kind, statement_id, amount_cents)
    SELECT p.id, p.client_id, 1, 'statement', s.id, 100 FROM payout p JOIN statement s USING (client_id);
INSERT INTO payout_event (payout_id, client_id, status, at, by)
    SELECT id, client_id, status, now(), 'test' FROM payout;
INSERT INTO internal_transfer (file_id, earned_cents, covered_cents, amount_cents, end_to_end_id, status)
    SELECT id, 20, 5, 15, 'T2P-C', 'draft' FROM payment_file WHERE kind = 'payout';
INSERT INTO quote (client_id, reference, kind, label, total_excl_cents, deposit_rate, is_distance,
                   valid_until, status, created_at, created_by)
    SELECT id, 'D-1', 'installation', 'Bornes', 500, 0.5, false, '2026-12-31', 'draft', now(), 'test'
      FROM client WHERE NOT is_operator ORDER BY id LIMIT 1;
INSERT INTO quote_line (quote_id, client_id, position, label, quantity, unit_excl_cents,
                        amount_excl_cents)
    SELECT id, client_id, 1, reference, 1, 500, 500 FROM quote;
INSERT INTO quote_event (quote_id, client_id, status, at, by)
    SELECT id, client_id, 'offered', now(), 'test' FROM quote;
INSERT INTO quote_sale (own_sale_id, client_id, quote_id, part, due_on)
    SELECT s.id, s.client_id, q.id, 'deposit', '2026-11-12' FROM own_sale s JOIN quote q USING (client_id);
INSERT INTO late_payment (client_id, payout_id, month, principal_cents, paid_on, interest_cents,
                          indemnity_cents, spans, created_at, created_by)
    SELECT client_id, id, month, amount_cents, '2026-11-20', 1, 0, '[]', now(), 'test' FROM payout;
INSERT INTO sepa_mandate (reference, person_id, iban, holder, signed_on, created_at, created_by)
    SELECT 'MD-1', 1, 'DE89370400440532013000', 'Camille Exemple', '2026-01-05', now(), 'test';
INSERT INTO direct_debit (mandate_id, client_id, person_id, invoice_id, amount_cents, notified_at,
        collection_on, end_to_end_id, status)
    SELECT m.id, i.client_id, m.person_id, i.id, 259, now(), '2026-12-01', 'T2P-P-1-1', 'notified'
      FROM sepa_mandate m, invoice i;
INSERT INTO own_receipt (client_id, invoice_id, source_key, amount_cents, received_on, means, created_at,
        created_by)
    SELECT client_id, id, 'bank:2', 1, '2026-11-03', 'transfer', now(), 'test' FROM invoice;
INSERT INTO reminder (client_id, invoice_id, person_id, due_since_on, level, amount_cents, sent_on, sent_at,
        takes_effect_on)
    SELECT client_id, id, 1, '2025-11-05', 0, 259, '2025-12-17', '2025-12-17', '2025-12-26' FROM invoice;
INSERT INTO payment_block (client_id, person_id, min_cents, from_at, by)
    SELECT client_id, person_id, 100, now(), 'test' FROM reminder;
INSERT INTO payment_block_cause (block_id, client_id, notice_id, invoice_id, amount_cents, told_at,
        added_at)
    SELECT b.id, b.client_id, r.id, r.invoice_id, 259, r.sent_at, now() FROM payment_block b, reminder r;
INSERT INTO bank_statement (account, reference, opening_cents, closing_cents, closing_on, sha256,
        is_simulated, imported_at, imported_by)
    VALUES ('mandate', 'S-1', 0, 259, '2026-11-03', '\x00', true, now(), 'test');
INSERT INTO bank_line (statement_id, account, reference, amount_cents, booked_on, kind)
    SELECT id, account, 'L-1', 259, closing_on, 'transfer_in' FROM bank_statement;
INSERT INTO bank_match (line_id, is_suspense, kind, subject, matched_at, matched_by)
    SELECT id, true, 'suspense', 'bank line 1', now(), 'test' FROM bank_line;
INSERT INTO provider_method (person_id, provider, customer_reference, method_reference, created_at)
    SELECT 1, 'stripe', 'cus_1', 'pm_1', now();
INSERT INTO provider_payment (key, provider, client_id, person_id, invoice_id, method_id, amount_cents,
        reference, status, is_simulated, created_at, checked_at)
    SELECT 't2p-' || i.id || '-1', 'stripe', i.client_id, m.person_id, i.id, m.id, 259, 'pi_1',
           'authorised', true, now(), now()
      FROM provider_method m, invoice i;
INSERT INTO provider_payment_event (payment_id, client_id, status, at)
    SELECT id, client_id, status, now() FROM provider_payment;
INSERT INTO provider_webhook (provider, event_id, reference, content, received_at)
    VALUES ('stripe', 'evt_1', 'pi_1', '{}', now());
INSERT INTO supply (client_id, site_id, from_on, created_at, created_by)
    SELECT client_id, id, '2026-09-01', now(), 'test' FROM site ORDER BY id LIMIT 1;
INSERT INTO lot (client_id, site_id, reference, created_at)
    SELECT client_id, site_id, '12', now() FROM supply;
INSERT INTO lot_point (lot_id, client_id, station_key, evse_id, from_on)
    SELECT l.id, l.client_id, e.station_key, e.evse_id, '2026-09-01' FROM lot l, evse e LIMIT 1;
INSERT INTO lot_holding (client_id, lot_id, person_id, signed_on, provision_cents, from_on,
                         created_at, created_by)
    SELECT l.client_id, l.id, d.person_id, '2026-09-01', 500, '2026-09-01', now(), 'test'
      FROM lot l, driver d LIMIT 1;
INSERT INTO supply_document (invoice_id, client_id, holding_id, person_id, kind, month, energy_wh,
                             energy_excl_cents, telemetering_excl_cents, amount_incl_cents,
                             created_at)
    SELECT i.id, i.client_id, h.id, h.person_id, 'bill', '2026-10-01', 1, 1, 1, 1, now()
      FROM invoice i JOIN lot_holding h USING (client_id) LIMIT 1;
INSERT INTO supply_session (session_id, invoice_id, client_id, energy_wh)
    SELECT s.id, d.invoice_id, d.client_id, 1 FROM supply_document d, session s LIMIT 1;
INSERT INTO supply_provision (client_id, holding_id, person_id, kind, invoice_id, amount_cents,
                              vat_cents, source_key, created_at, created_by)
    SELECT client_id, holding_id, person_id, 'received', invoice_id, 600, 100, 'received:1', now(),
           'test' FROM supply_document;
INSERT INTO supply_reading (client_id, site_id, at, index_wh, source, created_at, created_by)
    SELECT client_id, site_id, '2026-10-01', 1, 'test', now(), 'test' FROM supply;
INSERT INTO outlet (name) VALUES ('qualicharge.session');
INSERT INTO outlet_item (outlet, client_id, object_key, source_key, kind, at, body, next_at,
                         give_up_at, created_at)
    SELECT 'qualicharge.session', client_id, id::text, id::text, 'session', now(), '{}', now(), now(),
           now() FROM session LIMIT 1;
INSERT INTO ocpi_partner (slug, name, country_code, party_id, person_id, created_at, created_by)
    SELECT 'hub', 'Hub', 'FR', '107', person_id, now(), 'test' FROM driver LIMIT 1;
INSERT INTO ocpi_site (partner_id, site_id, feed, from_at, created_by)
    SELECT p.id, s.id, 'roaming', now(), 'test' FROM ocpi_partner p, site s LIMIT 1;
INSERT INTO ocpi_token (partner_id, country_code, party_id, uid_key, type, content, last_updated,
                        received_at)
    SELECT id, 'FR', 'EMP', 'ab12', 'RFID', '{}', now(), now() FROM ocpi_partner;
INSERT INTO roaming_grant (partner_id, client_id, station_key, uid_key, allowed, method, token, at,
                           valid_until)
    SELECT p.id, s.client_id, s.station_key, 'ab12', 'ALLOWED', 'AUTH_REQUEST', '{}', now(), now()
      FROM ocpi_partner p, station s LIMIT 1;
INSERT INTO ocpi_command (partner_id, client_id, kind, command_id, response_url, digest, created_at)
    SELECT p.id, s.client_id, 'START_SESSION', c.id, 'https://hub.example/1', '\x00', now()
      FROM ocpi_partner p, command c JOIN station s USING (station_key) LIMIT 1;
INSERT INTO ocpi_told (partner_id, module, object_id, client_id, content, at)
    SELECT p.id, 'sessions', x.id::text, x.client_id, '{}', now()
      FROM ocpi_partner p, session x LIMIT 1;
INSERT INTO availability_window (client_id, site_id, station_key, evse_id, kind, starts_at, ends_at,
                                 cause, created_at, created_by)
    SELECT client_id, site_id, station_key, 1, 'planned', '2026-10-01 08:00Z', '2026-10-01 10:00Z',
           'Travaux', now(), 'test' FROM station WHERE site_id IS NOT NULL LIMIT 1;
INSERT INTO subscribed_power (client_id, site_id, from_on, subscribed_power_w, created_at, created_by)
    SELECT client_id, id, '2026-01-01', 36000, now(), 'test' FROM site LIMIT 1;
