-- The books: double entry in cents, append-only, sealed, chained by hashes.
--
-- Debits are above 0, credits below; the postings of an entry sum to 0. An entry is written whole in
-- one transaction: no posting joins it later, not even a balanced pair. Entries of one client form a
-- chain of their own, the operator's another (chain 0).

CREATE TABLE ledger_account (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code            text NOT NULL UNIQUE,                 -- "owed:available:12", "bank:mandate"
    kind            text NOT NULL CHECK (kind IN ('asset', 'liability', 'income', 'expense', 'memo')),
    client_id       bigint REFERENCES client,
    person_id       bigint REFERENCES driver,
    general_account text NOT NULL CHECK (general_account ~ '^[0-9]{3,10}$'),  -- plan comptable général
    label           text NOT NULL
);
CREATE INDEX ledger_account_client ON ledger_account (client_id);
CREATE INDEX ledger_account_person ON ledger_account (person_id);

CREATE TABLE ledger_chain (
    chain_key     bigint PRIMARY KEY,                     -- the client; 0: the operator
    last_sequence bigint NOT NULL DEFAULT 0,
    last_sha256   bytea NOT NULL DEFAULT '\x'
);

CREATE TABLE ledger_entry (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_key       bigint NOT NULL REFERENCES ledger_chain,
    sequence        bigint NOT NULL CHECK (sequence > 0),
    source_key      text NOT NULL UNIQUE,                 -- the same with another body is refused
    kind            text NOT NULL CHECK (kind ~ '^[a-z_]+$'),
    booked_on       date NOT NULL,
    client_id       bigint REFERENCES client,
    label           text NOT NULL,
    reverses_id     bigint UNIQUE REFERENCES ledger_entry,
    body_sha256     bytea NOT NULL,
    previous_sha256 bytea NOT NULL,
    sha256          bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    created_xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    UNIQUE (chain_key, sequence)
);
CREATE INDEX ledger_entry_client ON ledger_entry (client_id, booked_on);

CREATE TABLE ledger_posting (
    entry_id     bigint NOT NULL REFERENCES ledger_entry,
    position     smallint NOT NULL CHECK (position > 0),
    account_id   bigint NOT NULL REFERENCES ledger_account,
    amount_cents bigint NOT NULL CHECK (amount_cents <> 0),
    PRIMARY KEY (entry_id, position)
);
CREATE INDEX ledger_posting_account ON ledger_posting (account_id) INCLUDE (amount_cents);

-- Months in which nothing of a client's (0: the operator's) is booked any more.
CREATE TABLE ledger_closing (
    chain_key bigint NOT NULL REFERENCES ledger_chain,
    month     date NOT NULL CHECK (extract(day FROM month) = 1),
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (chain_key, month)
);

GRANT SELECT, INSERT ON ledger_account, ledger_entry, ledger_posting, ledger_closing TO t2p_service;
GRANT SELECT, INSERT, UPDATE ON ledger_chain TO t2p_service;
SELECT secure_tables();

-- Postings join their entry in the transaction that wrote it, and in no other.
CREATE FUNCTION seal_ledger_posting() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    late bigint;
BEGIN
    SELECT a.entry_id INTO late FROM added a JOIN ledger_entry e ON e.id = a.entry_id
     WHERE e.created_xid <> pg_current_xact_id() LIMIT 1;
    IF late IS NOT NULL THEN
        RAISE EXCEPTION 'entry % is sealed: no posting joins it any more', late
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_posting_seal AFTER INSERT ON ledger_posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION seal_ledger_posting();

-- Who writes an entry cannot say that another transaction did.
CREATE FUNCTION stamp_ledger_entry() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    NEW.created_xid := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER ledger_entry_stamp BEFORE INSERT ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION stamp_ledger_entry();

-- Judged when the transaction ends: two postings or more, and debits equal credits.
CREATE FUNCTION balance_ledger_entry() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found record;
BEGIN
    SELECT count(*) AS postings, coalesce(sum(amount_cents), 0) AS cents INTO found
      FROM ledger_posting WHERE entry_id = NEW.id;
    IF found.postings < 2 OR found.cents <> 0 THEN
        RAISE EXCEPTION 'entry % (%) has % postings that sum to % cents', NEW.id, NEW.source_key,
              found.postings, found.cents USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_entry_balance AFTER INSERT ON ledger_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balance_ledger_entry();

-- A closed month takes nothing more.
CREATE FUNCTION refuse_closed_month() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    late record;
BEGIN
    SELECT a.source_key, c.month INTO late
      FROM added a JOIN ledger_closing c USING (chain_key)
     WHERE a.booked_on < c.month + interval '1 month' LIMIT 1;
    IF late.source_key IS NOT NULL THEN
        RAISE EXCEPTION 'entry % is of a month that is closed (%)', late.source_key, late.month
              USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ledger_entry_month AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_closed_month();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_account', 'ledger_entry', 'ledger_posting', 'ledger_closing'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %1$I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    END LOOP;
END $$;
