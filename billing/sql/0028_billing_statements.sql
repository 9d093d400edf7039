-- Monthly statements: made once from the books, sent with a proof, contested or final; never edited.

CREATE TABLE statement (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id        bigint NOT NULL REFERENCES client,
    month            date NOT NULL CHECK (extract(day FROM month) = 1),
    contract_id      bigint REFERENCES contract,
    opening_cents    bigint NOT NULL,                     -- carried over from the month before
    collected_cents  bigint NOT NULL,                     -- in this civil month, VAT included
    uncollected_cents bigint NOT NULL,                    -- billed up to its end and not received
    commission_cents bigint NOT NULL,                     -- VAT included, as are the fees
    fees_cents       bigint NOT NULL,
    offset_cents     bigint NOT NULL,                     -- other sums due to the operator, set off
    adjustment_cents bigint NOT NULL,                     -- decided disputes, credits of past months
    disputed_cents   bigint NOT NULL,                     -- held back at the closing
    net_cents        bigint NOT NULL,                     -- to be paid; below 0: carried forward
    content          text NOT NULL,                       -- billing.statement.Statement as JSON
    sha256           bytea NOT NULL,
    closed_at        timestamptz NOT NULL,
    UNIQUE (client_id, month),
    UNIQUE (client_id, id)
);

-- Each cent of a statement with where it comes from. What was charged, what of it was received, and
-- what was put right of months past; each of them once in all statements.
CREATE TABLE statement_line (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_id     bigint NOT NULL,
    client_id        bigint NOT NULL,
    position         integer NOT NULL CHECK (position > 0),
    kind             text NOT NULL CHECK (kind IN ('session', 'late_session', 'receipt', 'adjustment',
                                                   'own_sale', 'offset', 'hold', 'release')),
    session_id       bigint REFERENCES priced_session,
    receipt_share_id bigint REFERENCES receipt_share,
    invoice_id       bigint REFERENCES invoice,
    own_sale_id      bigint REFERENCES own_sale,
    dispute_id       bigint,                              -- what is held back, or let go
    amount_cents     bigint NOT NULL,                     -- VAT included; deductions below 0
    cause            text,                                -- of an adjustment, in words
    UNIQUE (statement_id, position),
    UNIQUE (client_id, id),
    FOREIGN KEY (client_id, statement_id) REFERENCES statement (client_id, id)
);
CREATE UNIQUE INDEX statement_line_session ON statement_line (session_id)
    WHERE kind IN ('session', 'late_session');
CREATE UNIQUE INDEX statement_line_share ON statement_line (receipt_share_id)
    WHERE receipt_share_id IS NOT NULL;
CREATE UNIQUE INDEX statement_line_own_sale ON statement_line (own_sale_id) WHERE kind = 'own_sale';
CREATE UNIQUE INDEX statement_line_adjustment ON statement_line (invoice_id)
    WHERE kind = 'adjustment' AND receipt_share_id IS NULL;
CREATE UNIQUE INDEX statement_line_dispute ON statement_line (dispute_id, kind)
    WHERE dispute_id IS NOT NULL;
CREATE INDEX statement_line_invoice ON statement_line (invoice_id);

CREATE TABLE statement_file (
    statement_id bigint NOT NULL,
    client_id    bigint NOT NULL,
    format       text NOT NULL CHECK (format IN ('pdf', 'csv', 'xlsx', 'json')),
    language     text NOT NULL CHECK (language IN ('fr', 'en')),
    content      bytea NOT NULL,
    sha256       bytea NOT NULL CHECK (sha256 = sha256(content)),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (statement_id, format, language),
    FOREIGN KEY (client_id, statement_id) REFERENCES statement (client_id, id)
);

-- What became of a statement, each with its proof: its state is read from these.
CREATE TABLE statement_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    statement_id bigint NOT NULL,
    client_id    bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('sent', 'delivered', 'opened', 'failed', 'final')),
    at           timestamptz NOT NULL,
    proof        jsonb NOT NULL DEFAULT '{}',             -- of a delivery: channel, message id, ...
    FOREIGN KEY (client_id, statement_id) REFERENCES statement (client_id, id)
);
CREATE INDEX statement_event_statement ON statement_event (statement_id, kind, at);
CREATE UNIQUE INDEX statement_event_once ON statement_event (statement_id, kind)
    WHERE kind IN ('final');

-- A client contests a line of a statement (ten days), or an invoice in its name (fifteen).
CREATE TABLE dispute (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id         bigint NOT NULL REFERENCES client,
    statement_line_id bigint,
    invoice_id        bigint,
    month             date NOT NULL CHECK (extract(day FROM month) = 1),  -- of what is contested
    opened_at         timestamptz NOT NULL,
    opened_by         text NOT NULL,
    person_id         bigint REFERENCES person,           -- who opened it
    window_ends_on    date NOT NULL,                      -- the last day that was open for it
    reason            text NOT NULL CHECK (reason <> '' AND length(reason) <= 2000),
    held_cents        bigint NOT NULL CHECK (held_cents >= 0),  -- of what is owed to the client
    decided_at        timestamptz,
    decided_by        text,
    decision          text CHECK (decision IN ('upheld', 'rejected', 'withdrawn')),
    decision_reason   text CHECK (decision_reason <> ''),
    correction_id     bigint REFERENCES invoice,          -- 381 or 384 that it led to
    FOREIGN KEY (client_id, statement_line_id) REFERENCES statement_line (client_id, id),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    CHECK (num_nonnulls(statement_line_id, invoice_id) = 1),
    CHECK (num_nonnulls(decided_at, decided_by, decision, decision_reason) IN (0, 4))
);
CREATE UNIQUE INDEX dispute_open_line ON dispute (statement_line_id) WHERE decided_at IS NULL;
CREATE UNIQUE INDEX dispute_open_invoice ON dispute (invoice_id) WHERE decided_at IS NULL;
CREATE INDEX dispute_client ON dispute (client_id, month);
ALTER TABLE statement_line ADD FOREIGN KEY (dispute_id) REFERENCES dispute;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['statement', 'statement_line', 'statement_file', 'statement_event'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON statement, statement_line, statement_file, statement_event TO t2p_service;
GRANT SELECT, INSERT, UPDATE ON dispute TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON statement FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON statement_line FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON statement_file FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON statement_event FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON dispute FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON statement, statement_line, statement_file, statement_event, dispute TO t2p_app;
