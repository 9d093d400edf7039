-- Money through a payment provider: who may be charged there, each payment with what became of it,
-- and what the provider told us. Only its opaque references are here, never anything of a card.
--
-- A state (`status`) is the last of its events; which follows which stands in
-- billing/provider_state.py. Money enters the books by receipts alone.

CREATE TABLE provider_method (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id          bigint NOT NULL REFERENCES driver,
    provider           text NOT NULL CHECK (provider ~ '^[a-z]{1,20}$'),
    customer_reference text NOT NULL CHECK (customer_reference ~ '^[A-Za-z][A-Za-z0-9_-]{2,99}$'),
    method_reference   text NOT NULL CHECK (method_reference ~ '^[A-Za-z][A-Za-z0-9_-]{2,99}$'),
    created_at         timestamptz NOT NULL,
    revoked_at         timestamptz
);
CREATE UNIQUE INDEX provider_method_person ON provider_method (person_id, provider)
    WHERE revoked_at IS NULL;

CREATE TABLE provider_payment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key            text NOT NULL UNIQUE,                  -- ours: of it the idempotency keys are made
    provider       text NOT NULL,
    client_id      bigint NOT NULL,
    person_id      bigint NOT NULL REFERENCES driver,
    invoice_id     bigint NOT NULL,
    method_id      bigint NOT NULL REFERENCES provider_method,
    amount_cents   bigint NOT NULL CHECK (amount_cents > 0),
    reference      text CHECK (reference ~ '^[A-Za-z][A-Za-z0-9_-]{2,99}$'),  -- null: not known yet
    status         text NOT NULL CHECK (status IN ('requested', 'authorised', 'captured',
                                                   'partly_refunded', 'refunded', 'charged_back',
                                                   'voided', 'failed', 'unknown')),
    captured_cents bigint NOT NULL DEFAULT 0 CHECK (captured_cents BETWEEN 0 AND amount_cents),
    booked_cents   bigint NOT NULL DEFAULT 0 CHECK (booked_cents BETWEEN 0 AND captured_cents),
    booked_key     text,                                  -- of the receipt that holds them
    is_simulated   boolean NOT NULL,
    created_at     timestamptz NOT NULL,
    checked_at     timestamptz NOT NULL,                  -- last asked of the provider
    UNIQUE (provider, reference),
    UNIQUE (client_id, id),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    CHECK ((booked_cents > 0) = (booked_key IS NOT NULL))
);
-- An invoice is being paid, or is paid, once at a time.
CREATE UNIQUE INDEX provider_payment_open ON provider_payment (invoice_id)
    WHERE status IN ('requested', 'authorised', 'captured', 'partly_refunded', 'unknown');
CREATE INDEX provider_payment_invoice ON provider_payment (invoice_id);
CREATE INDEX provider_payment_person ON provider_payment (person_id);
CREATE INDEX provider_payment_client ON provider_payment (client_id);
CREATE INDEX provider_payment_method ON provider_payment (method_id);

CREATE TABLE provider_payment_event (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payment_id bigint NOT NULL,
    client_id  bigint NOT NULL,
    status     text NOT NULL,
    at         timestamptz NOT NULL,
    detail     text,                                      -- the provider's reason, or ours
    FOREIGN KEY (client_id, payment_id) REFERENCES provider_payment (client_id, id)
);
CREATE INDEX provider_payment_event_payment ON provider_payment_event (payment_id);
CREATE TRIGGER provider_payment_event_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON provider_payment_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What was posted to us in a provider's name. A forged one is kept in part, and changes nothing.
CREATE TABLE provider_webhook (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text NOT NULL,
    event_id    text CHECK (length(event_id) <= 100),     -- null: not signed by the provider
    reference   text CHECK (length(reference) <= 100),    -- of the payment that it speaks of
    content     bytea NOT NULL CHECK (length(content) <= 262144),
    received_at timestamptz NOT NULL,
    handled_at  timestamptz,
    UNIQUE (provider, event_id)
);
CREATE INDEX provider_webhook_open ON provider_webhook (id)
    WHERE handled_at IS NULL AND event_id IS NOT NULL;

GRANT SELECT, INSERT ON provider_method, provider_payment, provider_payment_event, provider_webhook
    TO t2p_service;
GRANT UPDATE (revoked_at) ON provider_method TO t2p_service;
GRANT UPDATE (reference, status, captured_cents, booked_cents, booked_key, checked_at)
    ON provider_payment TO t2p_service;
GRANT UPDATE (handled_at) ON provider_webhook TO t2p_service;

SELECT secure_tables();
CREATE POLICY own ON provider_method FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON provider_payment FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
CREATE POLICY managed ON provider_payment_event FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON provider_method, provider_payment, provider_payment_event TO t2p_app;
