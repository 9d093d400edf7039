-- Money out and in by bank: payouts to clients, direct debits, the bank's statements, and what of
-- these belongs together.
--
-- A payment file is made by one person and approved by another; what it holds is fixed when it is
-- made. A state (`status`) is the last of its events; which follows which stands in
-- billing/payment_state.py.

CREATE TABLE payment_file (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('payout', 'debit')),
    account      text NOT NULL CHECK (account IN ('mandate', 'own')),  -- of the operator's: whose money
    message_id   text NOT NULL UNIQUE CHECK (length(message_id) BETWEEN 1 AND 35),
    execution_on date NOT NULL,
    payments     integer NOT NULL CHECK (payments > 0),
    total_cents  bigint NOT NULL CHECK (total_cents > 0),
    content      bytea NOT NULL,                          -- pain.001 or pain.008, as it goes to the bank
    sha256       bytea NOT NULL CHECK (sha256 = sha256(content)),
    is_simulated boolean NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,                           -- actor, as the audit names it
    approved_at  timestamptz,
    approved_by  text,
    sent_at      timestamptz,                             -- handed to the bank
    cancelled_at timestamptz,
    CHECK (num_nonnulls(approved_at, approved_by) IN (0, 2)),
    CHECK (approved_by <> created_by),                    -- four eyes
    CHECK (sent_at IS NULL OR approved_at IS NOT NULL),
    CHECK (sent_at IS NULL OR cancelled_at IS NULL)
);

CREATE TABLE payout (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id     bigint NOT NULL REFERENCES client,
    month         date NOT NULL CHECK (extract(day FROM month) = 1),  -- the last whose statement it pays
    amount_cents  bigint NOT NULL CHECK (amount_cents > 0),
    due_on        date NOT NULL,                          -- article 5.4 c
    iban          text NOT NULL,                          -- as approved when it was made
    holder        text NOT NULL,
    end_to_end_id text NOT NULL UNIQUE CHECK (length(end_to_end_id) BETWEEN 1 AND 35),
    status        text NOT NULL CHECK (status IN ('draft', 'sent', 'settled', 'returned', 'refused',
                                                  'cancelled')),
    file_id       bigint REFERENCES payment_file,
    settled_on    date,                                   -- the bank's day
    created_at    timestamptz NOT NULL,
    created_by    text NOT NULL,
    UNIQUE (client_id, id),
    CHECK (status NOT IN ('sent', 'settled', 'returned') OR file_id IS NOT NULL)
);
CREATE INDEX payout_client ON payout (client_id, month);
CREATE INDEX payout_file ON payout (file_id);

-- What a payout pays, to the cent: statements, and what was held for a dispute and is let go.
CREATE TABLE payout_line (
    payout_id    bigint NOT NULL,
    client_id    bigint NOT NULL,
    position     integer NOT NULL CHECK (position > 0),
    kind         text NOT NULL CHECK (kind IN ('statement', 'release')),
    statement_id bigint REFERENCES statement,
    dispute_id   bigint REFERENCES dispute,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    PRIMARY KEY (payout_id, position),
    FOREIGN KEY (client_id, payout_id) REFERENCES payout (client_id, id),
    CHECK (num_nonnulls(statement_id, dispute_id) = 1),
    CHECK ((kind = 'release') = (dispute_id IS NOT NULL))
);
CREATE INDEX payout_line_statement ON payout_line (statement_id);
CREATE INDEX payout_line_dispute ON payout_line (dispute_id);

CREATE TABLE payout_event (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payout_id bigint NOT NULL,
    client_id bigint NOT NULL,
    status    text NOT NULL,
    at        timestamptz NOT NULL,
    by        text NOT NULL,
    detail    text,                                       -- the bank's reason, or ours
    FOREIGN KEY (client_id, payout_id) REFERENCES payout (client_id, id)
);
CREATE INDEX payout_event_payout ON payout_event (payout_id);

-- Between the operator's two accounts: what it earned leaves the account of third parties, less what
-- it had made good there in the books and not moved yet.
CREATE TABLE internal_transfer (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    file_id       bigint NOT NULL UNIQUE REFERENCES payment_file,
    earned_cents  bigint NOT NULL CHECK (earned_cents > 0),
    covered_cents bigint NOT NULL CHECK (covered_cents >= 0),
    amount_cents  bigint NOT NULL CHECK (amount_cents > 0),
    end_to_end_id text NOT NULL UNIQUE CHECK (length(end_to_end_id) BETWEEN 1 AND 35),
    status        text NOT NULL CHECK (status IN ('draft', 'sent', 'settled', 'refused', 'cancelled')),
    CHECK (amount_cents = earned_cents - covered_cents)
);

-- Who may be debited. A change of account is a new mandate; the old one is revoked.
CREATE TABLE sepa_mandate (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference   text NOT NULL UNIQUE CHECK (reference ~ '^[A-Za-z0-9+?/:().,''-]{1,35}$'),
    person_id   bigint REFERENCES driver,                 -- a driver pays clients' invoices,
    client_id   bigint REFERENCES client,                 -- or a client the operator's
    iban        text NOT NULL CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
    bic         text CHECK (bic ~ '^[A-Z0-9]{8}([A-Z0-9]{3})?$'),
    holder      text NOT NULL CHECK (holder <> ''),
    signed_on   date NOT NULL,
    notice_days integer NOT NULL DEFAULT 14 CHECK (notice_days BETWEEN 1 AND 14),  -- T5
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    revoked_at  timestamptz,
    revoked_by  text,
    revoked_for text,                                     -- why: its holder, the bank's code, ...
    CHECK (num_nonnulls(person_id, client_id) = 1),
    CHECK (num_nonnulls(revoked_at, revoked_by, revoked_for) IN (0, 3))
);
CREATE UNIQUE INDEX sepa_mandate_person ON sepa_mandate (person_id) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX sepa_mandate_client ON sepa_mandate (client_id) WHERE revoked_at IS NULL;
CREATE INDEX sepa_mandate_persons ON sepa_mandate (person_id);
CREATE INDEX sepa_mandate_clients ON sepa_mandate (client_id);

CREATE TABLE direct_debit (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mandate_id    bigint NOT NULL REFERENCES sepa_mandate,
    client_id     bigint NOT NULL REFERENCES client,      -- whose invoice, or who is debited
    person_id     bigint REFERENCES driver,               -- the driver who is debited
    invoice_id    bigint NOT NULL REFERENCES invoice,
    amount_cents  bigint NOT NULL CHECK (amount_cents > 0),
    sequence      text CHECK (sequence IN ('FRST', 'RCUR')),  -- null: it is in no file yet
    notified_at   timestamptz NOT NULL,                   -- pre-notification
    collection_on date NOT NULL,
    end_to_end_id text NOT NULL UNIQUE CHECK (length(end_to_end_id) BETWEEN 1 AND 35),
    status        text NOT NULL CHECK (status IN ('notified', 'sent', 'collected', 'returned',
                                                  'refused', 'cancelled')),
    file_id       bigint REFERENCES payment_file,
    settled_on    date,
    reason        text,                                   -- of a return, a refusal, a cancelling
    CHECK (status NOT IN ('sent', 'collected', 'returned') OR file_id IS NOT NULL)
);
-- An invoice is being debited once at a time.
CREATE UNIQUE INDEX direct_debit_open ON direct_debit (invoice_id)
    WHERE status IN ('notified', 'sent', 'collected');
CREATE INDEX direct_debit_invoice ON direct_debit (invoice_id);
CREATE INDEX direct_debit_mandate ON direct_debit (mandate_id);
CREATE INDEX direct_debit_client ON direct_debit (client_id);
CREATE INDEX direct_debit_person ON direct_debit (person_id);
CREATE INDEX direct_debit_file ON direct_debit (file_id);

-- What a client paid of the operator's own invoices, or what went back (below 0).
CREATE TABLE own_receipt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id    bigint NOT NULL,
    invoice_id   bigint NOT NULL,
    source_key   text NOT NULL UNIQUE,
    amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
    received_on  date NOT NULL,
    means        text NOT NULL CHECK (means IN ('transfer', 'direct_debit', 'other')),
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id)
);
CREATE INDEX own_receipt_invoice ON own_receipt (invoice_id);
CREATE INDEX own_receipt_client ON own_receipt (client_id);

CREATE TABLE bank_statement (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account       text NOT NULL CHECK (account IN ('mandate', 'own')),
    reference     text NOT NULL,                          -- the bank's name of it
    opening_cents bigint NOT NULL,
    closing_cents bigint NOT NULL,
    closing_on    date NOT NULL,
    sha256        bytea NOT NULL,                         -- of the file
    is_simulated  boolean NOT NULL,
    imported_at   timestamptz NOT NULL,
    imported_by   text NOT NULL,
    UNIQUE (account, reference)
);

CREATE TABLE bank_line (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_id      bigint NOT NULL REFERENCES bank_statement,
    account           text NOT NULL CHECK (account IN ('mandate', 'own')),
    reference         text NOT NULL,                      -- the bank's, or made from its place
    amount_cents      bigint NOT NULL CHECK (amount_cents <> 0),
    booked_on         date NOT NULL,
    kind              text NOT NULL,                      -- as billing.sepa.camt names it
    end_to_end_id     text,
    counterparty_name text,
    counterparty_iban text,
    remittance        text,
    reason            text,                               -- of a return
    UNIQUE (account, reference)
);
CREATE INDEX bank_line_statement ON bank_line (statement_id);

-- What a line of the bank's was taken for: first perhaps nothing yet (suspense), then something.
CREATE TABLE bank_match (
    line_id     bigint NOT NULL REFERENCES bank_line,
    is_suspense boolean NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('suspense', 'payout', 'payout_return', 'transfer', 'debit',
                                              'debit_return', 'receipt', 'own_receipt', 'other')),
    subject     text NOT NULL,                            -- "payout 12", "receipt 7"
    matched_at  timestamptz NOT NULL,
    matched_by  text NOT NULL,
    PRIMARY KEY (line_id, is_suspense),
    CHECK (is_suspense = (kind = 'suspense'))
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['payout_line', 'payout_event', 'own_receipt', 'bank_statement',
                                'bank_line', 'bank_match'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

-- The bytes that a person approved are those that leave.
CREATE FUNCTION keep_payment_file() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF (NEW.kind, NEW.account, NEW.message_id, NEW.execution_on, NEW.payments, NEW.total_cents,
        NEW.sha256, NEW.is_simulated, NEW.created_by)
       IS DISTINCT FROM (OLD.kind, OLD.account, OLD.message_id, OLD.execution_on, OLD.payments,
                         OLD.total_cents, OLD.sha256, OLD.is_simulated, OLD.created_by)
       OR (OLD.approved_by IS NOT NULL AND NEW.approved_by IS DISTINCT FROM OLD.approved_by) THEN
        RAISE EXCEPTION 'payment file % stays as it was made', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_file_kept BEFORE UPDATE ON payment_file
    FOR EACH ROW EXECUTE FUNCTION keep_payment_file();

GRANT SELECT, INSERT, UPDATE ON payment_file, payout, internal_transfer, sepa_mandate, direct_debit
    TO t2p_service;
GRANT SELECT, INSERT ON payout_line, payout_event, own_receipt, bank_statement, bank_line, bank_match
    TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON payout FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON payout_line FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON payout_event FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON own_receipt FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON sepa_mandate FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON direct_debit FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
GRANT SELECT ON payout, payout_line, payout_event, own_receipt, sepa_mandate, direct_debit TO t2p_app;

ALTER TABLE billing_problem DROP CONSTRAINT billing_problem_stage_check;
ALTER TABLE billing_problem ADD CONSTRAINT billing_problem_stage_check
    CHECK (stage IN ('price', 'issue', 'close', 'send', 'receipt', 'pay', 'settle'));
