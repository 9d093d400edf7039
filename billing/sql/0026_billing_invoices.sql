-- Invoices in the name of clients, and the operator's own: numbered without a gap, never rewritten.

-- One row for each issuer, kind and year; its number is taken in the transaction that issues, so
-- that one rolled back leaves no gap. client_id null: the operator's own.
CREATE TABLE invoice_series (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint REFERENCES client,
    kind        text NOT NULL CHECK (kind IN ('invoice', 'credit')),
    year        smallint NOT NULL CHECK (year BETWEEN 2000 AND 2200),
    prefix      text NOT NULL UNIQUE CHECK (prefix ~ '^[A-Za-z0-9-]{1,24}$'),
    last_number bigint NOT NULL DEFAULT 0 CHECK (last_number >= 0),
    UNIQUE NULLS NOT DISTINCT (client_id, kind, year)
);

CREATE TABLE invoice (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    issuer            text NOT NULL CHECK (issuer IN ('client', 'operator')),
    client_id         bigint NOT NULL REFERENCES client,  -- in whose name; of the operator's: to whom
    person_id         bigint REFERENCES driver,           -- the buyer; null: the client itself
    series_id         bigint NOT NULL REFERENCES invoice_series,
    sequence          bigint NOT NULL CHECK (sequence > 0),
    number            text NOT NULL UNIQUE CHECK (number ~ '^[A-Za-z0-9+/_-]{1,35}$'),
    type_code         smallint NOT NULL CHECK (type_code IN (380, 384, 381)),  -- UNTDID 1001
    vat_case          text NOT NULL CHECK (vat_case IN ('redevable', 'franchise', 'non_assujetti')),
    to_consumer       boolean NOT NULL DEFAULT true,      -- the buyer is no business
    month             date NOT NULL CHECK (extract(day FROM month) = 1),  -- of supply
    issued_on         date NOT NULL,
    due_on            date NOT NULL,
    amount_excl_cents bigint NOT NULL,                    -- as printed; of a 381: what is given back
    vat_cents         bigint NOT NULL,
    amount_incl_cents bigint NOT NULL,
    effect_cents      bigint NOT NULL,                    -- on what the buyer owes: 381 lessens it, a
    effect_vat_cents  bigint NOT NULL,                    -- 384 brings the difference to its original
    original_id       bigint REFERENCES invoice,
    reason            text,
    source_key        text NOT NULL UNIQUE,               -- what it comes from: made once
    content           text NOT NULL,                      -- billing.invoice.Document as JSON
    content_sha256    bytea NOT NULL,
    created_at        timestamptz NOT NULL,
    UNIQUE (series_id, sequence),
    UNIQUE (client_id, id),
    CHECK (amount_incl_cents = amount_excl_cents + vat_cents),
    CHECK ((type_code = 380) = (original_id IS NULL)),
    CHECK ((issuer = 'client') = (person_id IS NOT NULL))
);
CREATE INDEX invoice_client ON invoice (client_id, month, issuer);
CREATE INDEX invoice_person ON invoice (person_id, issued_on);
CREATE INDEX invoice_original ON invoice (original_id);

-- The operator's sales to a client that wait for an invoice, or are on one (see invoice_line).
CREATE TABLE own_sale (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id         bigint NOT NULL REFERENCES client,
    contract_id       bigint REFERENCES contract,
    kind              text NOT NULL CHECK (kind IN ('commission', 'management_fee', 'subscription',
                                                    'telemetering', 'intervention')),
    label             text NOT NULL CHECK (label <> ''),
    amount_excl_cents bigint NOT NULL,                    -- below 0: given back
    on_day            date NOT NULL,
    month             date NOT NULL CHECK (extract(day FROM month) = 1),  -- whose statement it is on
    source_key        text NOT NULL UNIQUE,
    created_at        timestamptz NOT NULL,
    created_by        text NOT NULL,
    UNIQUE (client_id, id)
);
CREATE INDEX own_sale_client ON own_sale (client_id, month);

CREATE TABLE invoice_line (
    invoice_id        bigint NOT NULL,
    position          integer NOT NULL CHECK (position > 0),
    client_id         bigint NOT NULL,
    session_id        bigint REFERENCES priced_session,
    own_sale_id       bigint REFERENCES own_sale,
    is_original       boolean NOT NULL,                   -- the first of its session or sale; false where
                                                          -- a document only corrects it
    amount_excl_cents bigint NOT NULL,
    vat_cents         bigint NOT NULL,
    amount_incl_cents bigint NOT NULL,
    PRIMARY KEY (invoice_id, position),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    CHECK (amount_incl_cents = amount_excl_cents + vat_cents),
    CHECK (num_nonnulls(session_id, own_sale_id) = 1)
);
CREATE UNIQUE INDEX invoice_line_session ON invoice_line (session_id) WHERE is_original;
CREATE UNIQUE INDEX invoice_line_own_sale ON invoice_line (own_sale_id) WHERE is_original;
CREATE INDEX invoice_line_corrected ON invoice_line (session_id) WHERE NOT is_original;

-- Bytes as they were handed out first; the XML is the same whenever it is made, a PDF is not.
CREATE TABLE invoice_file (
    invoice_id bigint NOT NULL,
    client_id  bigint NOT NULL,
    format     text NOT NULL CHECK (format IN ('xml', 'pdf')),
    content    bytea NOT NULL,
    sha256     bytea NOT NULL CHECK (sha256 = sha256(content)),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (invoice_id, format),
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id)
);

-- When an invoice was made available to the client in whose name it is: its fifteen days run.
CREATE TABLE invoice_availability (
    invoice_id   bigint PRIMARY KEY,
    client_id    bigint NOT NULL,
    available_at timestamptz NOT NULL,
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id)
);

-- What lies in the folder for an approved platform (plateforme agréée). Laid down, not transmitted.
CREATE TABLE platform_file (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint REFERENCES client,                  -- null: the operator's own
    kind       text NOT NULL CHECK (kind IN ('invoice', 'b2c_aggregate')),
    invoice_id bigint UNIQUE REFERENCES invoice,
    source_key text NOT NULL UNIQUE,
    name       text NOT NULL UNIQUE,
    sha256     bytea NOT NULL,
    laid_at    timestamptz NOT NULL,
    CHECK ((kind = 'invoice') = (invoice_id IS NOT NULL))
);
CREATE INDEX platform_file_client ON platform_file (client_id);

-- Texts that the law wants on an invoice, by date; where a row ends and none follows, a person has
-- to enter the new wording before anything of that kind is issued again.
CREATE TABLE invoice_mention (
    code     text NOT NULL CHECK (code ~ '^[a-z_]+$'),
    language text NOT NULL CHECK (language IN ('fr', 'en')),
    from_on  date NOT NULL,
    to_on    date CHECK (to_on > from_on),
    text     text NOT NULL CHECK (text <> ''),
    source   text NOT NULL CHECK (source <> ''),
    PRIMARY KEY (code, language, from_on),
    EXCLUDE USING gist (
        int8range(hashtextextended(code || language, 0), hashtextextended(code || language, 0), '[]') WITH &&,
        daterange(from_on, to_on) WITH &&)
);

-- PMT, PMD and AAB are the subject codes under which the French rules on electronic invoices want
-- these texts. {operator} and {seller} stand for the names.
INSERT INTO invoice_mention (code, language, from_on, to_on, text, source) VALUES
('pmt_professional', 'fr', '2019-04-26', NULL,
 'En cas de retard de paiement, une indemnité forfaitaire de 40 € est due pour frais de recouvrement.',
 'Code de commerce, articles L.441-10 II et D.441-5'),
('pmt_professional', 'en', '2019-04-26', NULL,
 'In case of late payment, a fixed sum of €40 is due for the costs of recovery.',
 'Code de commerce, articles L.441-10 II et D.441-5'),
('pmt_consumer', 'fr', '2014-01-01', NULL,
 'Aucune indemnité forfaitaire pour frais de recouvrement n’est due par un consommateur.',
 'Code de commerce, article L.441-10 II, qui ne vise que les professionnels'),
('pmt_consumer', 'en', '2014-01-01', NULL,
 'No fixed sum for the costs of recovery is due by a consumer.',
 'Code de commerce, article L.441-10 II, qui ne vise que les professionnels'),
('pmd_professional', 'fr', '2019-04-26', NULL,
 'En cas de retard de paiement, des pénalités au taux de trois fois l’intérêt légal sont exigibles dès le jour suivant la date d’échéance.',
 'Code de commerce, article L.441-10 II ; contrat, article 7'),
('pmd_professional', 'en', '2019-04-26', NULL,
 'In case of late payment, penalties at three times the legal rate of interest are due from the day after the due date.',
 'Code de commerce, article L.441-10 II ; contrat, article 7'),
('pmd_consumer', 'fr', '2016-10-01', NULL,
 'En cas de retard de paiement, les intérêts au taux légal courent à compter de la mise en demeure.',
 'Code civil, articles 1231-6 et 1344-1'),
('pmd_consumer', 'en', '2016-10-01', NULL,
 'In case of late payment, interest at the legal rate runs from the formal notice.',
 'Code civil, articles 1231-6 et 1344-1'),
('aab_professional', 'fr', '2014-01-01', NULL, 'Pas d’escompte pour paiement anticipé.',
 'Code de commerce, article L.441-9'),
('aab_professional', 'en', '2014-01-01', NULL, 'No discount for early payment.',
 'Code de commerce, article L.441-9'),
('aab_consumer', 'fr', '2014-01-01', NULL, 'Pas d’escompte pour paiement anticipé.',
 'même mention qu’aux professionnels'),
('aab_consumer', 'en', '2014-01-01', NULL, 'No discount for early payment.',
 'même mention qu’aux professionnels'),
('franchise', 'fr', '2014-01-01', '2028-01-01', 'TVA non applicable, art. 293 B du CGI',
 'CGI, article 293 E ; anciennes références admises jusqu’au 31/12/2027 (ordonnance 2025-1247)'),
('franchise', 'en', '2014-01-01', '2028-01-01', 'TVA non applicable, art. 293 B du CGI',
 'CGI, article 293 E ; anciennes références admises jusqu’au 31/12/2027 (ordonnance 2025-1247)'),
('non_assujetti', 'fr', '2014-01-01', NULL,
 'Décompte d’une personne non assujettie à la TVA : aucune taxe n’est facturée ni récupérable.',
 'CGI, articles 256 A et 283-3'),
('non_assujetti', 'en', '2014-01-01', NULL,
 'Account of a person not subject to VAT: no tax is charged, none can be recovered.',
 'CGI, articles 256 A et 283-3'),
('mandate', 'fr', '2014-01-01', NULL, 'Établie par {operator} au nom et pour le compte de {seller}.',
 'CGI, article 289 I-2 et annexe II, article 242 nonies I'),
('mandate', 'en', '2014-01-01', NULL, 'Made out by {operator} in the name and for the account of {seller}.',
 'CGI, article 289 I-2 et annexe II, article 242 nonies I');

-- Money that came in from drivers, or went back (below 0). Entered through one function.
CREATE TABLE receipt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_key   text NOT NULL UNIQUE,                    -- of the bank's or the provider's line
    person_id    bigint NOT NULL REFERENCES driver,
    invoice_id   bigint REFERENCES invoice,               -- null: on account, oldest invoices first
    client_id    bigint REFERENCES client,                -- of that invoice
    amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
    received_on  date NOT NULL,                           -- value date
    booked_on    date NOT NULL,                           -- in the books: never in a closed month
    means        text NOT NULL CHECK (means IN ('transfer', 'direct_debit', 'card', 'wallet', 'other')),
    reverses_id  bigint UNIQUE REFERENCES receipt,
    is_simulated boolean NOT NULL DEFAULT false,
    body_sha256  bytea NOT NULL,                          -- the same key with another body is refused
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    CHECK ((invoice_id IS NULL) = (client_id IS NULL)),
    CHECK ((amount_cents < 0) = (reverses_id IS NOT NULL))
);
CREATE INDEX receipt_person ON receipt (person_id, received_on);
CREATE INDEX receipt_invoice ON receipt (invoice_id);

-- Which invoice money went to, and from there to which session: fills lines in their order.
CREATE TABLE receipt_share (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    receipt_id   bigint NOT NULL REFERENCES receipt,
    client_id    bigint NOT NULL,
    invoice_id   bigint NOT NULL,
    session_id   bigint NOT NULL REFERENCES priced_session,
    amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
    booked_on    date NOT NULL,
    created_at   timestamptz NOT NULL,
    correction_id bigint REFERENCES invoice,              -- the document that gave it back
    FOREIGN KEY (client_id, invoice_id) REFERENCES invoice (client_id, id),
    CHECK (correction_id IS NULL OR amount_cents < 0)
);
CREATE INDEX receipt_share_receipt ON receipt_share (receipt_id);
CREATE INDEX receipt_share_invoice ON receipt_share (invoice_id);
CREATE INDEX receipt_share_client ON receipt_share (client_id, booked_on);
CREATE INDEX receipt_share_session ON receipt_share (session_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['invoice', 'own_sale', 'invoice_line', 'invoice_file',
                                'invoice_availability', 'platform_file', 'receipt', 'receipt_share'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON invoice_series TO t2p_service;
GRANT SELECT, INSERT ON invoice, own_sale, invoice_line, invoice_file, invoice_availability,
    platform_file, invoice_mention, receipt, receipt_share TO t2p_service;
GRANT UPDATE (to_on) ON invoice_mention TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON invoice FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON invoice FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY managed ON invoice_line FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON invoice_line FOR SELECT TO t2p_app
    USING (invoice_id IN (SELECT id FROM invoice WHERE person_id = (SELECT acting_person())));
CREATE POLICY managed ON invoice_file FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON invoice_file FOR SELECT TO t2p_app
    USING (invoice_id IN (SELECT id FROM invoice WHERE person_id = (SELECT acting_person())));
CREATE POLICY managed ON invoice_availability FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON own_sale FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON receipt_share FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON receipt FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
GRANT SELECT ON invoice, invoice_line, invoice_file, invoice_availability, own_sale, receipt,
    receipt_share TO t2p_app;
