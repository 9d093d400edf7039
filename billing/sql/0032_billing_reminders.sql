-- Unpaid invoices: reminders, notices of a block, and blocks of drivers at a client's stations.

-- What was written to whoever pays. An invoice that is due anew (money came back, a dispute was
-- decided) has another `due_since_on`, and its letters begin again.
CREATE TABLE reminder (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id       bigint NOT NULL,
    invoice_id      bigint NOT NULL,
    person_id       bigint REFERENCES driver,             -- null: the client, of the operator's own
    due_since_on    date NOT NULL,
    level           smallint NOT NULL CHECK (level BETWEEN 0 AND 20),  -- 0: the notice of a block
    amount_cents    bigint NOT NULL CHECK (amount_cents > 0),  -- left to be paid that day
    sent_on         date NOT NULL,                        -- in Paris
    sent_at         timestamptz NOT NULL,
    takes_effect_on date CHECK (takes_effect_on > sent_on),  -- of a notice: when the block may begin
    UNIQUE (invoice_id, due_since_on, level),             -- its source key
    UNIQUE (invoice_id, sent_on),                         -- one letter a day
    UNIQUE (client_id, id),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    CHECK ((level = 0) = (takes_effect_on IS NOT NULL)),
    CHECK (level > 0 OR person_id IS NOT NULL)            -- a client is never blocked
);
CREATE INDEX reminder_client ON reminder (client_id);
CREATE INDEX reminder_person ON reminder (person_id);

-- A driver who may not start at the stations of a client. What holds now is standing_block (views).
CREATE TABLE payment_block (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    person_id  bigint NOT NULL REFERENCES driver,
    min_cents  bigint NOT NULL CHECK (min_cents > 0),     -- an invoice with less left blocks nobody
    from_at    timestamptz NOT NULL,
    by         text NOT NULL,                             -- actor, as the audit names it
    until_at   timestamptz CHECK (until_at >= from_at),
    lifted_by  text,                                      -- null with until_at set: its cause is gone
    lifted_for text CHECK (lifted_for <> ''),
    UNIQUE (client_id, id),
    CHECK (num_nonnulls(lifted_by, lifted_for) IN (0, 2)),
    CHECK (lifted_by IS NULL OR until_at IS NOT NULL)
);
CREATE UNIQUE INDEX payment_block_open ON payment_block (person_id, client_id) WHERE until_at IS NULL;
CREATE INDEX payment_block_person ON payment_block (person_id);
CREATE INDEX payment_block_client ON payment_block (client_id);

-- Because of which invoices, each with the notice that was given of it.
CREATE TABLE payment_block_cause (
    block_id     bigint NOT NULL,
    client_id    bigint NOT NULL,
    notice_id    bigint NOT NULL,
    invoice_id   bigint NOT NULL,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),  -- left to be paid that day
    told_at      timestamptz NOT NULL,                    -- when a mail server took the notice for her
    added_at     timestamptz NOT NULL,
    CHECK (told_at < added_at),
    PRIMARY KEY (block_id, notice_id),
    FOREIGN KEY (client_id, block_id) REFERENCES payment_block (client_id, id),
    FOREIGN KEY (client_id, notice_id) REFERENCES reminder (client_id, id),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id)
);
CREATE INDEX payment_block_cause_invoice ON payment_block_cause (invoice_id);
CREATE INDEX payment_block_cause_notice ON payment_block_cause (notice_id);

-- Nobody is blocked for an invoice before the day that the notice of it, to this driver, named.
CREATE FUNCTION check_payment_block_cause() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM reminder r JOIN payment_block b ON b.id = NEW.block_id
         WHERE r.id = NEW.notice_id AND r.invoice_id = NEW.invoice_id AND r.person_id = b.person_id
           AND r.takes_effect_on <= (NEW.added_at AT TIME ZONE 'Europe/Paris')::date) THEN
        RAISE EXCEPTION 'invoice % may not block yet: its notice has not taken effect', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payment_block_cause_checked AFTER INSERT ON payment_block_cause
    FOR EACH ROW EXECUTE FUNCTION check_payment_block_cause();

CREATE TRIGGER reminder_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON reminder
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER payment_block_cause_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payment_block_cause
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Lists in stations follow: see touch_badges.
CREATE FUNCTION note_payment_block() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(ARRAY[NEW.person_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER payment_block_change AFTER INSERT OR UPDATE OF until_at ON payment_block
    FOR EACH ROW EXECUTE FUNCTION note_payment_block();

GRANT SELECT, INSERT ON reminder, payment_block_cause TO t2p_service;
GRANT SELECT, INSERT, UPDATE ON payment_block TO t2p_service;

SELECT secure_tables();
CREATE POLICY own ON reminder FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON payment_block FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON payment_block_cause FOR SELECT TO t2p_app
    USING (block_id IN (SELECT id FROM payment_block WHERE person_id = (SELECT acting_person())));
GRANT SELECT ON reminder, payment_block, payment_block_cause TO t2p_app;
