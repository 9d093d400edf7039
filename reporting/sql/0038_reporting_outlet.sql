-- What leaves for other systems: one mechanism for all outlets. A row of outlet_item is one thing to
-- be told to one peer, made once per source; what is not made yet is found by anti-join.

-- How an outlet fares, shared by all workers: its pause while the peer is away, and its next place
-- within the peer's limits of rate.
CREATE TABLE outlet (
    name       text PRIMARY KEY CHECK (name ~ '^[a-z]+\.[a-z]+$'),  -- qualicharge.status
    failures   integer NOT NULL DEFAULT 0 CHECK (failures >= 0),    -- of requests, since the last that went
    next_at    timestamptz,                               -- no request before; null: at any time
    free_at    timestamptz,                               -- the first moment that no request has taken
    failed_at  timestamptz,
    went_at    timestamptz,                               -- of the last delivery
    last_error text
);

CREATE TABLE outlet_item (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    outlet         text NOT NULL REFERENCES outlet,
    client_id      bigint NOT NULL REFERENCES client,
    object_key     text NOT NULL CHECK (object_key <> ''),  -- its items go one by one, in order
    source_key     text NOT NULL CHECK (source_key <> ''),  -- what it is made from
    kind           text NOT NULL,                         -- declare, withdraw, status, session
    at             timestamptz NOT NULL,                  -- when what it tells happened: its place in the order
    body           jsonb NOT NULL,
    status         text NOT NULL DEFAULT 'waiting'
                   CHECK (status IN ('waiting', 'sent', 'dead', 'dropped')),
    attempts       integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    doubtful_since timestamptz,                           -- sent, and nobody knows yet what came of it
    remote_id      text,                                  -- the peer's own name for it
    lease          uuid,
    leased_until   timestamptz,
    next_at        timestamptz NOT NULL,
    give_up_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL,
    tried_at       timestamptz,
    finished_at    timestamptz,
    reason         text,                                  -- why it is dead or dropped
    reply          text,                                  -- the peer's answer, cut
    settled_by     text,                                  -- who had it sent again, or gave it up
    UNIQUE (outlet, source_key),
    CHECK ((status = 'waiting') = (finished_at IS NULL)),
    CHECK ((lease IS NULL) = (leased_until IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX outlet_item_object ON outlet_item (outlet, object_key, at, id) WHERE status = 'waiting';
CREATE INDEX outlet_item_waiting ON outlet_item (outlet, at, id) WHERE status = 'waiting';
CREATE INDEX outlet_item_dead ON outlet_item (outlet, id) WHERE status = 'dead';
CREATE INDEX outlet_item_history ON outlet_item (outlet, object_key, id);
CREATE INDEX outlet_item_finished ON outlet_item (outlet, finished_at) WHERE status IN ('sent', 'dropped');
CREATE INDEX outlet_item_client ON outlet_item (client_id);

GRANT SELECT, INSERT, UPDATE ON outlet TO t2p_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON outlet_item TO t2p_service;
SELECT secure_tables();
