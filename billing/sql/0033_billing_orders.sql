-- Quotes (devis) of the operator's to clients, what became of them, and additional costs.

ALTER TABLE own_sale DROP CONSTRAINT own_sale_kind_check;
ALTER TABLE own_sale ADD CONSTRAINT own_sale_kind_check
    CHECK (kind IN ('commission', 'management_fee', 'subscription', 'telemetering', 'intervention',
                    'deposit', 'installation', 'cancellation', 'additional'));

CREATE TABLE quote (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id        bigint NOT NULL REFERENCES client,
    reference        text NOT NULL UNIQUE CHECK (reference <> ''),
    kind             text NOT NULL CHECK (kind IN ('installation', 'intervention')),
    label            text NOT NULL CHECK (label <> ''),
    total_excl_cents bigint NOT NULL CHECK (total_excl_cents > 0),
    deposit_rate     numeric(5, 4) NOT NULL CHECK (deposit_rate BETWEEN 0 AND 1),
    is_distance      boolean NOT NULL,                    -- may be withdrawn from (C19)
    valid_until      date NOT NULL,
    status           text NOT NULL CHECK (status IN ('draft', 'accepted', 'declined', 'completed',
                                                     'cancelled', 'withdrawn')),
    signed_on        date,
    signed_by        text,
    planned_at       timestamptz,
    ended_on         date,                                -- installed, done, cancelled, withdrawn
    created_at       timestamptz NOT NULL,
    created_by       text NOT NULL,
    UNIQUE (client_id, id),
    CHECK (num_nonnulls(signed_on, signed_by) IN (0, 2)),
    CHECK (status IN ('draft', 'declined') OR signed_on IS NOT NULL)
);
CREATE INDEX quote_client ON quote (client_id);

CREATE TABLE quote_line (
    quote_id          bigint NOT NULL,
    client_id         bigint NOT NULL,
    position          integer NOT NULL CHECK (position > 0),
    label             text NOT NULL CHECK (label <> ''),
    quantity          numeric(12, 3) NOT NULL CHECK (quantity > 0),
    unit_excl_cents   bigint NOT NULL,
    amount_excl_cents bigint NOT NULL,
    PRIMARY KEY (quote_id, position),
    FOREIGN KEY (client_id, quote_id) REFERENCES quote (client_id, id)
);

CREATE TABLE quote_event (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quote_id  bigint NOT NULL,
    client_id bigint NOT NULL,
    status    text NOT NULL,
    at        timestamptz NOT NULL,
    by        text NOT NULL,
    detail    text,                                       -- reserves, a reason, an agreement
    FOREIGN KEY (client_id, quote_id) REFERENCES quote (client_id, id)
);
CREATE INDEX quote_event_quote ON quote_event (quote_id);

-- A sale that a quote made, or a case of article 7.
CREATE TABLE quote_sale (
    own_sale_id bigint PRIMARY KEY REFERENCES own_sale,
    client_id   bigint NOT NULL,
    quote_id    bigint,
    part        text NOT NULL CHECK (part IN ('deposit', 'balance', 'cancellation', 'refund',
                                              'additional')),
    "case"      text CHECK ("case" IN ('no_access', 'nothing_found', 'unfinished',
                                       'late_cancellation')),
    evidence    text,
    due_on      date NOT NULL,                            -- of the invoice, or of what is given back
    FOREIGN KEY (client_id, own_sale_id) REFERENCES own_sale (client_id, id),
    FOREIGN KEY (client_id, quote_id) REFERENCES quote (client_id, id),
    CHECK ((part = 'additional') = ("case" IS NOT NULL AND evidence IS NOT NULL)),
    CHECK (part = 'additional' OR quote_id IS NOT NULL)
);
CREATE INDEX quote_sale_quote ON quote_sale (quote_id);
CREATE INDEX quote_sale_client ON quote_sale (client_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['quote_line', 'quote_event', 'quote_sale'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

-- What was offered is what was signed.
CREATE FUNCTION keep_quote() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF (NEW.client_id, NEW.reference, NEW.kind, NEW.label, NEW.total_excl_cents, NEW.deposit_rate,
        NEW.is_distance, NEW.valid_until)
       IS DISTINCT FROM (OLD.client_id, OLD.reference, OLD.kind, OLD.label, OLD.total_excl_cents,
                         OLD.deposit_rate, OLD.is_distance, OLD.valid_until)
       OR (OLD.signed_on IS NOT NULL
           AND (NEW.signed_on, NEW.signed_by) IS DISTINCT FROM (OLD.signed_on, OLD.signed_by)) THEN
        RAISE EXCEPTION 'quote % stays as it was offered', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER quote_kept BEFORE UPDATE ON quote FOR EACH ROW EXECUTE FUNCTION keep_quote();

GRANT SELECT, INSERT, UPDATE ON quote TO t2p_service;
GRANT SELECT, INSERT ON quote_line, quote_event, quote_sale TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON quote FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON quote_line FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON quote, quote_line TO t2p_app;
