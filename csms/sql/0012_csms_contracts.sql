-- Clients as parties to a contract: who they are, what was agreed, what is in force when.
--
-- Periods are days in Europe/Paris: from_on is the first day, to_on the first day after it (null:
-- until further notice). ends_on of a contract is its last day. Amounts are cents excluding VAT.
-- Overlaps are refused by exclusion constraints on ranges; the id stands in them as a range of one,
-- which needs no extension.

ALTER TABLE client
    ADD COLUMN class text CHECK (class IN ('particulier', 'non_professionnel', 'professionnel')),
    ADD COLUMN legal_name text CHECK (legal_name <> ''),
    ADD COLUMN siren text CHECK (siren ~ '^[0-9]{9}$'),
    ADD COLUMN street text CHECK (street <> ''),
    ADD COLUMN postal_code text CHECK (postal_code <> ''),
    ADD COLUMN city text CHECK (city <> ''),
    ADD COLUMN country text CHECK (country ~ '^[A-Z]{2}$'),       -- ISO 3166-1
    ADD COLUMN regulatory_basis text                              -- null: no payouts in production
        CHECK (regulatory_basis IN ('psp_split', 'agent_psp', 'exempted')),
    ADD COLUMN closed_at timestamptz,                             -- its last contract is settled
    ADD CONSTRAINT client_address CHECK (num_nonnulls(street, postal_code, city, country) IN (0, 4)),
    ADD CONSTRAINT client_professional CHECK (class <> 'professionnel' OR siren IS NOT NULL);

CREATE TABLE client_contact (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    name       text NOT NULL CHECK (name <> ''),
    email      text,
    phone      text,
    purposes   text[] NOT NULL CHECK (purposes <@ ARRAY['contract', 'statements', 'invoices',
                                                         'technical', 'personal_data']),
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    CHECK (num_nonnulls(email, phone) > 0)
);
CREATE INDEX client_contact_client ON client_contact (client_id);

-- How the client stands to VAT, as it has declared; never guessed.
CREATE TABLE client_vat (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    status     text NOT NULL CHECK (status IN ('redevable', 'franchise', 'non_assujetti')),
    vat_number text,
    from_on    date NOT NULL,
    to_on      date CHECK (to_on > from_on),
    CHECK (status <> 'redevable' OR vat_number IS NOT NULL),
    CHECK (status <> 'non_assujetti' OR vat_number IS NULL),
    EXCLUDE USING gist (int8range(client_id, client_id, '[]') WITH &&, daterange(from_on, to_on) WITH &&)
);

-- Accounts for payouts. Entered by one person, approved by another; only the newest approved counts.
CREATE TABLE client_iban (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id      bigint NOT NULL REFERENCES client,
    iban           text NOT NULL CHECK (iban ~ '^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$'),
    holder         text NOT NULL CHECK (holder <> ''),
    entered_by     text NOT NULL,                                 -- actor, as the audit names it
    entered_at     timestamptz NOT NULL,
    decided_by     text,
    decided_at     timestamptz,
    approved       boolean,                                       -- null: waiting
    replaced_at    timestamptz,                                   -- by another that was approved
    CHECK (decided_by <> entered_by OR NOT approved),       -- who entered it may take it back
    CHECK (num_nonnulls(decided_by, decided_at, approved) IN (0, 3)),
    CHECK (replaced_at IS NULL OR approved)
);
CREATE INDEX client_iban_client ON client_iban (client_id, id);
CREATE UNIQUE INDEX client_iban_current ON client_iban (client_id) WHERE approved AND replaced_at IS NULL;

CREATE TABLE contract (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id          bigint NOT NULL REFERENCES client,
    client_class       text NOT NULL                              -- as it was when it was made
                       CHECK (client_class IN ('particulier', 'non_professionnel', 'professionnel')),
    devis_reference    text NOT NULL UNIQUE CHECK (devis_reference <> ''),
    signed_on          date,                                      -- null: a draft
    starts_on          date NOT NULL,
    term_months        smallint NOT NULL CHECK (term_months BETWEEN 1 AND 240),
    notice_by          text CHECK (notice_by IN ('client', 'operator')),
    notice_on          date,                                      -- the day that counts for it
    ends_on            date,
    mandate_from_on    date,
    mandate_revoked_on date,
    created_at         timestamptz NOT NULL DEFAULT now(),
    closed_at          timestamptz,
    UNIQUE (client_id, id),
    CHECK (num_nonnulls(notice_by, notice_on, ends_on) IN (0, 3)),
    CHECK (ends_on >= starts_on),
    CHECK (mandate_revoked_on >= mandate_from_on),
    EXCLUDE USING gist (int8range(client_id, client_id, '[]') WITH &&,
                        daterange(starts_on, ends_on, '[]') WITH &&) WHERE (signed_on IS NOT NULL)
);
CREATE INDEX contract_client ON contract (client_id, starts_on);

CREATE TABLE contract_suspension (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint NOT NULL,
    contract_id bigint NOT NULL,
    received_on date NOT NULL,                                    -- the registered letter
    reason      text NOT NULL CHECK (reason <> ''),
    from_on     date NOT NULL,
    until_on    date CHECK (until_on >= from_on),                 -- equal: it never took effect
    FOREIGN KEY (client_id, contract_id) REFERENCES contract (client_id, id),
    EXCLUDE USING gist (int8range(contract_id, contract_id, '[]') WITH &&,
                        daterange(from_on, until_on) WITH &&)
);
CREATE INDEX contract_suspension_client ON contract_suspension (client_id);

-- Letters that told the client of his right to refuse the renewal (Code de la consommation L.215-1).
CREATE TABLE contract_letter (
    contract_id bigint NOT NULL,
    client_id   bigint NOT NULL,
    sent_on     date NOT NULL,
    PRIMARY KEY (contract_id, sent_on),
    FOREIGN KEY (client_id, contract_id) REFERENCES contract (client_id, id)
);

CREATE TABLE contract_terms (
    id                           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id                    bigint NOT NULL,
    contract_id                  bigint NOT NULL,
    from_on                      date NOT NULL,
    to_on                        date CHECK (to_on > from_on),
    commission_rate              numeric(7, 6) NOT NULL CHECK (commission_rate BETWEEN 0 AND 1),
    monthly_management_fee_cents bigint NOT NULL CHECK (monthly_management_fee_cents >= 0),
    yearly_subscription_cents    bigint NOT NULL CHECK (yearly_subscription_cents >= 0),
    monthly_telemetering_cents   bigint NOT NULL CHECK (monthly_telemetering_cents >= 0),
    energy_price_eur_per_kwh     numeric(12, 6) CHECK (energy_price_eur_per_kwh >= 0),
    FOREIGN KEY (client_id, contract_id) REFERENCES contract (client_id, id),
    EXCLUDE USING gist (int8range(contract_id, contract_id, '[]') WITH &&,
                        daterange(from_on, to_on) WITH &&)
);

-- Options of article 5.4 that are subscribed; the codes are those of csms.domain.services.
CREATE TABLE contract_option (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint NOT NULL,
    contract_id bigint NOT NULL,
    option      text NOT NULL CHECK (option ~ '^[a-z_]+$'),
    from_on     date NOT NULL,
    to_on       date CHECK (to_on >= from_on),                    -- equal: it never took effect
    FOREIGN KEY (client_id, contract_id) REFERENCES contract (client_id, id),
    EXCLUDE USING gist (int8range(contract_id, contract_id, '[]') WITH &&,
                        int8range(hashtextextended(option, 0), hashtextextended(option, 0), '[]') WITH &&,
                        daterange(from_on, to_on) WITH &&)
);
CREATE INDEX contract_option_client ON contract_option (client_id, option);

-- Whether the station's client was closed when its list was last held against the badges.
ALTER TABLE local_authorization ADD COLUMN list_closed boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE ON client_contact, client_vat, client_iban, contract,
    contract_suspension, contract_terms, contract_option TO t2p_service;
GRANT SELECT, INSERT ON contract_letter TO t2p_service;

-- Managers read what was agreed with their clients, but not whole account numbers.
SELECT secure_tables();
CREATE POLICY managed ON client_contact FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON client_vat FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON contract FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON contract_suspension FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON contract_letter FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON contract_terms FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON contract_option FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON client_contact, client_vat, contract, contract_suspension, contract_letter,
    contract_terms, contract_option TO t2p_app;

-- Once a client is closed its managers see no station of it any more, and so nothing live; what was
-- charged stays theirs to read.
ALTER POLICY managed ON station
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           AND client_id IN (SELECT id FROM client WHERE closed_at IS NULL));
