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
