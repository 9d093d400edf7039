-- Energy that the operator supplies to co-owners itself (article 5.4 d): where, whose lots, what was
-- billed to them, what they paid in advance, and what the supply's meter shows.
--
-- Periods are days in Europe/Paris: from_on is the first day, to_on the first day after it (null:
-- until further notice).

-- Sites whose delivery point the operator holds: what is charged there it sells itself, and invoices
-- in nobody else's name.
CREATE TABLE supply (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    site_id    text NOT NULL REFERENCES site,
    from_on    date NOT NULL,
    to_on      date CHECK (to_on >= from_on),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    UNIQUE (client_id, id),
    EXCLUDE USING gist (int8range(hashtextextended(site_id, 0), hashtextextended(site_id, 0), '[]') WITH &&,
                        daterange(from_on, to_on) WITH &&)
);
CREATE INDEX supply_client ON supply (client_id);
CREATE INDEX supply_site ON supply (site_id);

CREATE TABLE lot (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    site_id    text NOT NULL REFERENCES site,
    reference  text NOT NULL CHECK (reference ~ '^[[:alnum:]][[:alnum:] ./_-]{0,31}$'),
    created_at timestamptz NOT NULL,
    UNIQUE (client_id, id),
    UNIQUE (site_id, reference)
);
CREATE INDEX lot_client ON lot (client_id);

-- The points at which only a lot charges, since when.
CREATE TABLE lot_point (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lot_id      bigint NOT NULL,
    client_id   bigint NOT NULL,
    station_key integer NOT NULL REFERENCES station,
    evse_id     integer NOT NULL CHECK (evse_id >= 1),
    from_on     date NOT NULL,
    to_on       date CHECK (to_on >= from_on),
    FOREIGN KEY (client_id, lot_id) REFERENCES lot (client_id, id),
    EXCLUDE USING gist (int4range(station_key, station_key, '[]') WITH &&,
                        int4range(evse_id, evse_id, '[]') WITH &&, daterange(from_on, to_on) WITH &&)
);
CREATE INDEX lot_point_lot ON lot_point (lot_id);

-- Who has a lot, under which contract of his with the operator.
CREATE TABLE lot_holding (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id       bigint NOT NULL,
    lot_id          bigint NOT NULL,
    person_id       bigint NOT NULL REFERENCES driver,
    signed_on       date NOT NULL,
    provision_cents bigint NOT NULL CHECK (provision_cents BETWEEN 0 AND 10000000),  -- VAT included
    from_on         date NOT NULL,
    to_on           date CHECK (to_on > from_on),
    ended_for       text CHECK (ended_for <> ''),
    withheld_for    text CHECK (withheld_for <> ''),      -- why the rest is not given back yet (article 6)
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    UNIQUE (client_id, id),
    FOREIGN KEY (client_id, lot_id) REFERENCES lot (client_id, id),
    CHECK ((to_on IS NULL) = (ended_for IS NULL)),
    CHECK (withheld_for IS NULL OR to_on IS NOT NULL),
    EXCLUDE USING gist (int8range(lot_id, lot_id, '[]') WITH &&, daterange(from_on, to_on) WITH &&)
);
CREATE INDEX lot_holding_client ON lot_holding (client_id);
CREATE INDEX lot_holding_person ON lot_holding (person_id);

-- Documents of the operator's to co-owners have a buyer, and are of the co-ownership's chain; what
-- asks for a provision is a prepayment invoice (386).
ALTER TABLE invoice
    DROP CONSTRAINT invoice_type_code_check,
    DROP CONSTRAINT invoice_check1,                       -- original
    DROP CONSTRAINT invoice_check2,                       -- buyer
    ADD CONSTRAINT invoice_type_code CHECK (type_code IN (380, 381, 384, 386)),
    ADD CONSTRAINT invoice_original CHECK ((type_code IN (380, 386)) = (original_id IS NULL)),
    ADD CONSTRAINT invoice_buyer CHECK (issuer = 'operator' OR person_id IS NOT NULL),
    ADD CONSTRAINT invoice_advance CHECK (type_code <> 386
                                          OR (issuer = 'operator' AND person_id IS NOT NULL));
ALTER TABLE invoice_line
    DROP CONSTRAINT invoice_line_check1,
    ADD COLUMN holding_id bigint,
    ADD CONSTRAINT invoice_line_source CHECK (num_nonnulls(session_id, own_sale_id, holding_id) = 1),
    ADD FOREIGN KEY (client_id, holding_id) REFERENCES lot_holding (client_id, id);
CREATE INDEX invoice_line_holding ON invoice_line (holding_id) WHERE holding_id IS NOT NULL;

-- What a document of a holding says: of a month's bill its energy and its parts, without VAT; of a
-- prepayment invoice, and of a credit note, its amount.
CREATE TABLE supply_document (
    invoice_id              bigint PRIMARY KEY,
    client_id               bigint NOT NULL,
    holding_id              bigint NOT NULL,
    person_id               bigint NOT NULL REFERENCES driver,
    kind                    text NOT NULL CHECK (kind IN ('bill', 'advance', 'credit')),
    month                   date NOT NULL CHECK (extract(day FROM month) = 1),
    energy_wh               bigint NOT NULL,
    energy_excl_cents       bigint NOT NULL,
    telemetering_excl_cents bigint NOT NULL,
    amount_incl_cents       bigint NOT NULL,              -- what it adds to what he owes
    created_at              timestamptz NOT NULL,
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    FOREIGN KEY (client_id, holding_id) REFERENCES lot_holding (client_id, id),
    CHECK (kind = 'bill' OR (energy_wh, energy_excl_cents, telemetering_excl_cents) = (0, 0, 0))
);
CREATE UNIQUE INDEX supply_document_month ON supply_document (holding_id, month) WHERE kind = 'bill';
CREATE INDEX supply_document_client ON supply_document (client_id, month);
CREATE INDEX supply_document_person ON supply_document (person_id);

-- Which document billed how much of a session; where its energy was put right later, the next one
-- has the difference.
CREATE TABLE supply_session (
    session_id bigint NOT NULL REFERENCES session,
    invoice_id bigint NOT NULL REFERENCES supply_document,
    client_id  bigint NOT NULL,
    energy_wh  bigint NOT NULL CHECK (energy_wh <> 0),
    PRIMARY KEY (session_id, invoice_id)
);
CREATE INDEX supply_session_invoice ON supply_session (invoice_id);
CREATE INDEX supply_session_client ON supply_session (client_id);

-- The provision of a holding: received (below 0: it came back), used for a bill (below 0), or credited
-- at the end (below 0); vat_cents is what is contained.
CREATE TABLE supply_provision (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id    bigint NOT NULL,
    holding_id   bigint NOT NULL,
    person_id    bigint NOT NULL REFERENCES driver,
    kind         text NOT NULL CHECK (kind IN ('received', 'used', 'credited')),
    invoice_id   bigint NOT NULL REFERENCES supply_document,  -- the 386; the bill; the credit note
    amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
    vat_cents    bigint NOT NULL,
    source_key   text NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    FOREIGN KEY (client_id, holding_id) REFERENCES lot_holding (client_id, id)
);
CREATE INDEX supply_provision_holding ON supply_provision (holding_id);
CREATE INDEX supply_provision_invoice ON supply_provision (invoice_id);
CREATE INDEX supply_provision_client ON supply_provision (client_id);
CREATE INDEX supply_provision_person ON supply_provision (person_id);

-- What the supply's own meter showed at a moment.
CREATE TABLE supply_reading (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id    bigint NOT NULL REFERENCES client,
    site_id      text NOT NULL REFERENCES site,
    at           timestamptz NOT NULL,
    index_wh     bigint NOT NULL CHECK (index_wh >= 0),
    source       text NOT NULL CHECK (source <> ''),      -- who read it, or which file said it
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    withdrawn_at timestamptz,                             -- it was wrong
    withdrawn_by text,
    CHECK (num_nonnulls(withdrawn_at, withdrawn_by) IN (0, 2))
);
CREATE UNIQUE INDEX supply_reading_once ON supply_reading (site_id, at) WHERE withdrawn_at IS NULL;
CREATE INDEX supply_reading_client ON supply_reading (client_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['supply_document', 'supply_session', 'supply_provision'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

ALTER TABLE billing_problem DROP CONSTRAINT billing_problem_stage_check;
ALTER TABLE billing_problem ADD CONSTRAINT billing_problem_stage_check
    CHECK (stage IN ('price', 'issue', 'close', 'send', 'receipt', 'pay', 'settle', 'late',
                     'provider', 'supply', 'order', 'remind'));

GRANT SELECT, INSERT, UPDATE ON supply, lot_point, lot_holding TO t2p_service;
GRANT SELECT, INSERT ON lot, supply_document, supply_session, supply_provision, supply_reading
    TO t2p_service;
GRANT UPDATE (withdrawn_at, withdrawn_by) ON supply_reading TO t2p_service;

-- What a co-owner is billed is between him and the operator: a manager reads it by lot, in
-- supply_document, not his invoices.
DROP POLICY managed ON invoice;
DROP POLICY managed ON invoice_line;
DROP POLICY managed ON invoice_file;
DROP POLICY managed ON own_receipt;
CREATE POLICY managed ON invoice FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           AND (issuer = 'client' OR person_id IS NULL));
CREATE POLICY managed ON invoice_line FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]) AND holding_id IS NULL);
CREATE POLICY managed ON invoice_file FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           AND invoice_id IN (SELECT id FROM invoice));
CREATE POLICY managed ON own_receipt FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           AND invoice_id IN (SELECT id FROM invoice));
CREATE POLICY own ON own_receipt FOR SELECT TO t2p_app
    USING (invoice_id IN (SELECT id FROM invoice WHERE person_id = (SELECT acting_person())));

SELECT secure_tables();
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['supply', 'lot', 'lot_point', 'lot_holding', 'supply_document',
                                'supply_session', 'supply_reading'] LOOP
        EXECUTE format('CREATE POLICY managed ON %I FOR SELECT TO t2p_app '
                       'USING (client_id = ANY ((SELECT managed_clients())::bigint[]))', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['lot_holding', 'supply_document', 'supply_provision'] LOOP
        EXECUTE format('CREATE POLICY own ON %I FOR SELECT TO t2p_app '
                       'USING (person_id = (SELECT acting_person()))', name);
    END LOOP;
END $$;
CREATE POLICY own ON lot FOR SELECT TO t2p_app
    USING (id IN (SELECT lot_id FROM lot_holding WHERE person_id = (SELECT acting_person())));
GRANT SELECT ON supply, lot, lot_point, lot_holding, supply_document, supply_session,
    supply_provision, supply_reading TO t2p_app;
