-- The core: clients, sites, stations, badges, sessions, readings, journal, desk.
--
-- Run by the migrator as the owning role; the application's role t2p_app owns nothing and gets
-- only what the grants at the end give. Every table of people's or clients' data leads to its
-- client: directly (client_id), or through station_key.
--
-- Times: *_at is what we hold to be true; stated_* is what the station said, never changed.

CREATE TABLE client (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    is_operator boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX client_operator ON client (is_operator) WHERE is_operator;
INSERT INTO client (name, is_operator) VALUES ('Time2Plug', true);

-- The client of whatever is created without one.
CREATE FUNCTION operator_client_id() RETURNS bigint LANGUAGE sql STABLE
    AS 'SELECT id FROM client WHERE is_operator';

CREATE TABLE site (
    id         text PRIMARY KEY CHECK (id <> ''),
    client_id  bigint NOT NULL DEFAULT operator_client_id() REFERENCES client,
    name       text NOT NULL DEFAULT '',
    time_zone  text NOT NULL DEFAULT 'Europe/Paris',
    static     jsonb NOT NULL DEFAULT '{}',  -- address, coordinates, IRVE station fields
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (client_id, id)
);

CREATE TABLE station (
    station_key      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               text NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 255),
    client_id        bigint NOT NULL DEFAULT operator_client_id() REFERENCES client,
    site_id          text,
    protocol         text CHECK (protocol IN ('ocpp1.6', 'ocpp2.0.1')),  -- null: what it speaks
    security_profile smallint NOT NULL DEFAULT 0 CHECK (security_profile BETWEEN 0 AND 3),
    password_hash    text,
    boot_status      text NOT NULL DEFAULT 'accepted'
                     CHECK (boot_status IN ('accepted', 'pending', 'rejected')),
    auto_configure   boolean NOT NULL DEFAULT true,
    public           boolean NOT NULL DEFAULT false,
    ping_interval_s  real CHECK (ping_interval_s >= 0),  -- null: the gateway's setting; 0: no pings
    compression      boolean NOT NULL DEFAULT false,     -- permessage-deflate when it asks for it
    vendor           text,
    model            text,
    serial           text,
    firmware         text,
    status           text,                               -- of the station as a whole (connector 0)
    status_at        timestamptz,
    clock_skew_s     real,                               -- station's clock minus ours, last known
    naive_is_local   boolean,                            -- its times without a zone; null: unknown
    booted_at        timestamptz,
    static           jsonb NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    retired_at       timestamptz,                        -- unknown to the gateway from then on
    FOREIGN KEY (client_id, site_id) REFERENCES site (client_id, id)
);
CREATE INDEX station_site ON station (site_id);

-- Who holds the station's socket. A row stays after the connection, for last_seen_at.
-- generation counts the station's connections: the newest wins, the older may only clean up its own.
CREATE TABLE station_connection (
    station_key     integer PRIMARY KEY REFERENCES station ON DELETE CASCADE,
    node            text NOT NULL,
    generation      bigint NOT NULL,
    protocol        text NOT NULL,
    remote_address  text NOT NULL,
    connected_at    timestamptz NOT NULL,
    last_seen_at    timestamptz NOT NULL,
    disconnected_at timestamptz                           -- null: connected
) WITH (fillfactor = 50);

CREATE TABLE evse (
    station_key integer NOT NULL REFERENCES station ON DELETE CASCADE,
    evse_id     integer NOT NULL CHECK (evse_id >= 1),
    evse_uid    text,                                     -- eMI3 identifier, canonical, no '*'
    public      boolean,                                  -- null: as its station
    power_w_max integer CHECK (power_w_max > 0),
    status      text NOT NULL DEFAULT 'unknown',
    status_at   timestamptz,
    static      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (station_key, evse_id)
);

CREATE TABLE connector (
    station_key  integer NOT NULL,
    evse_id      integer NOT NULL,
    connector_id integer NOT NULL CHECK (connector_id >= 1),
    type         text,                                    -- OCPP 2.0.1 ConnectorEnumType
    power_w_max  integer CHECK (power_w_max > 0),
    status       text NOT NULL DEFAULT 'unknown',
    status_at    timestamptz,
    error_code   text,
    PRIMARY KEY (station_key, evse_id, connector_id),
    FOREIGN KEY (station_key, evse_id) REFERENCES evse ON DELETE CASCADE
);

-- Badges. Compared without case: uid_key is what is looked up.
CREATE TABLE token (
    uid_key     text PRIMARY KEY,
    uid         text NOT NULL CHECK (length(uid) BETWEEN 1 AND 255),
    client_id   bigint NOT NULL DEFAULT operator_client_id() REFERENCES client,
    type        text NOT NULL DEFAULT 'ISO14443',
    status      text NOT NULL DEFAULT 'accepted'
                CHECK (status IN ('accepted', 'blocked', 'expired', 'invalid')),
    group_uid   text,
    valid_until timestamptz,                              -- null: without end
    site_ids    text[],                                   -- null: at every site
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz,
    CHECK (uid_key = lower(uid))
);

CREATE TABLE unknown_token (
    uid_key       text PRIMARY KEY,
    uid           text NOT NULL,
    station_key   integer NOT NULL REFERENCES station ON DELETE CASCADE,  -- where last shown
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    count         bigint NOT NULL DEFAULT 1
);

-- Session ids come in blocks, one round trip a block: a nextval N owns N*1000 .. N*1000+999.
CREATE SEQUENCE session_block_seq;

CREATE TABLE session (
    id                bigint PRIMARY KEY,
    client_id         bigint NOT NULL REFERENCES client,  -- as of the start; a station may move
    site_id           text,
    station_key       integer NOT NULL REFERENCES station,
    start_key         text NOT NULL,                      -- what makes a start the same start
    transaction_id    text NOT NULL,                      -- 1.6: the id in decimal
    evse_id           integer,                            -- null: the station never said
    connector_id      integer,
    token_uid         text,                               -- as the station wrote it
    token_type        text,
    authorization_status text NOT NULL,                   -- the answer given at the start
    state             text NOT NULL CHECK (state IN ('active', 'ended', 'lost')),
    charging_state    text,
    remote_start_id   integer,
    reservation_id    integer,
    started_at        timestamptz NOT NULL,
    ended_at          timestamptz,
    stated_started_at timestamptz,                        -- null: no start was received
    stated_ended_at   timestamptz,
    received_start_at timestamptz,
    received_end_at   timestamptz,
    meter_start_wh    numeric(15, 3),                     -- null: register unknown
    meter_stop_wh     numeric(15, 3),
    energy_wh         bigint CHECK (energy_wh >= 0),      -- null: unknown; never more than measured
    last_register_wh  numeric(15, 3),                     -- newest believed register
    last_register_at  timestamptz,                        -- null: no reading yet
    segment_start_wh  numeric(15, 3),                     -- register where it last ran on unbroken
    register_base_wh  numeric(15, 3) NOT NULL DEFAULT 0,  -- energy before that segment
    suspect_wh        numeric(15, 3),                     -- a reading that broke the run, unconfirmed
    power_w           double precision,                   -- last power sample, and its integral:
    power_integral_wh double precision NOT NULL DEFAULT 0,-- tells kWh labelled Wh from Wh
    seq_no_last       integer,                            -- 2.0.1: highest seqNo received
    seq_no_missing    integer[] NOT NULL DEFAULT '{}',    -- 2.0.1: gaps below it
    readings_from_at  timestamptz,                        -- stated times of its readings, for look-up
    readings_to_at    timestamptz,
    stop_reason       text,
    stop_token_uid    text,
    flags             text[] NOT NULL DEFAULT '{}',
    revision          integer NOT NULL DEFAULT 0,         -- optimistic lock between gateway and API
    UNIQUE (station_key, start_key),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK (ended_at >= started_at)
) WITH (fillfactor = 70);
CREATE INDEX session_open ON session (station_key) WHERE state = 'active';
CREATE INDEX session_open_token ON session (lower(token_uid)) WHERE state = 'active';
CREATE INDEX session_station ON session (station_key, started_at DESC, id DESC);
CREATE INDEX session_started ON session (started_at, id);
CREATE INDEX session_ended ON session (ended_at, id);
CREATE INDEX session_token ON session (lower(token_uid), started_at);
CREATE INDEX session_transaction ON session (station_key, transaction_id);

-- What proves an invoice: the frames that began, ended or corrected a session, as received.
-- Append-only, kept when the journal's month is dropped.
CREATE TABLE session_event (
    session_id  bigint NOT NULL,
    received_at timestamptz NOT NULL,
    kind        text NOT NULL,                            -- started, ended, lost, settled, corrected
    frame       text,                                     -- null: our own decision
    note        text
);
CREATE INDEX session_event_session ON session_event (session_id, received_at);

-- What a sampled value is: position i of each array describes position i of meter_reading.samples.
CREATE TABLE meter_profile (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text NOT NULL UNIQUE,                      -- the arrays in one JSON text
    measurands text[] NOT NULL,
    phases     text[] NOT NULL,                           -- '' for none, as in the next three
    units      text[] NOT NULL,                           -- as on the wire, prefixes resolved
    contexts   text[] NOT NULL,
    locations  text[] NOT NULL
);

-- One row per station and moment; values raw, never changed. Retransmissions fall on the key.
CREATE TABLE meter_reading (
    station_key  integer NOT NULL,
    stated_at    timestamptz NOT NULL,                    -- the station's own time, zone-less as UTC
    digest       bigint NOT NULL,                         -- of the reading's content
    at           timestamptz NOT NULL,                    -- corrected time
    received_at  timestamptz NOT NULL,
    session_id   bigint,                                  -- null: outside any session
    evse_id      integer,
    connector_id integer,
    profile_id   integer NOT NULL,
    samples      double precision[] NOT NULL,             -- NaN: see texts
    texts        text,                                    -- JSON {"index": raw}: signed or not a number
    PRIMARY KEY (station_key, stated_at, digest)
) PARTITION BY RANGE (stated_at);
CREATE TABLE meter_reading_default PARTITION OF meter_reading DEFAULT;

CREATE TABLE evse_status (
    station_key  integer NOT NULL,
    at           timestamptz NOT NULL,                    -- corrected time
    received_at  timestamptz NOT NULL,
    stated_at    timestamptz,
    evse_id      integer NOT NULL,                        -- 0: the station as a whole
    connector_id integer,
    status       text NOT NULL,
    error_code   text,
    detail       text                                     -- vendor's code and info
) PARTITION BY RANGE (received_at);
CREATE TABLE evse_status_default PARTITION OF evse_status DEFAULT;
CREATE INDEX evse_status_evse ON evse_status (station_key, evse_id, received_at);

-- The journal: one row per exchange. frame and answer are the texts on the wire.
CREATE TABLE ocpp_message (
    at          timestamptz NOT NULL,                     -- received or sent; rising per node
    station_key integer NOT NULL,
    direction   text NOT NULL CHECK (direction IN ('in', 'out')),
    protocol    text NOT NULL,
    action      text,                                     -- null: could not be read
    message_id  text,
    frame       text NOT NULL,
    answer      text,                                     -- null: none was due or none came
    answered_at timestamptz,                              -- in: when the commit began, the answer follows it
    latency_ms  real
) PARTITION BY RANGE (at);
CREATE TABLE ocpp_message_default PARTITION OF ocpp_message DEFAULT;
ALTER TABLE ocpp_message_default SET (toast_tuple_target = 8160);
CREATE INDEX ocpp_message_station ON ocpp_message (station_key, at DESC);
CREATE INDEX ocpp_message_at ON ocpp_message USING brin (at);

-- What stations report beside sessions: boots, firmware, logs, security and monitoring events,
-- device model, displays, customers, certificates, profiles.
CREATE TABLE station_event (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key integer NOT NULL REFERENCES station ON DELETE CASCADE,
    received_at timestamptz NOT NULL,
    stated_at   timestamptz,
    kind        text NOT NULL,                            -- boot, firmware, log, security, ...
    content     jsonb NOT NULL
);
CREATE INDEX station_event_station ON station_event (station_key, received_at DESC);

-- How a station departs from the specification, seen and counted.
CREATE TABLE deviation (
    station_key   integer NOT NULL REFERENCES station ON DELETE CASCADE,
    kind          text NOT NULL,
    subject       text NOT NULL,                          -- action and field
    sample        text NOT NULL,
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    count         bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (station_key, kind, subject)
);

-- Known faults of a make, as data. A pattern is case-blind with * and ?; null matches all.
CREATE TABLE quirk (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vendor     text,
    model      text,
    firmware   text,
    correction text NOT NULL,                             -- one of csms.wire.quirks.CORRECTIONS
    decided_on date NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    retired_at timestamptz
);

-- The reconciliation desk. Unique on its source, so that a retransmission adds nothing.
CREATE TABLE reconciliation (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key    integer NOT NULL REFERENCES station,
    received_at    timestamptz NOT NULL,
    reason         text NOT NULL,
    session_id     bigint REFERENCES session,             -- the session it may concern
    transaction_id text,
    message_id     text,
    frame          text NOT NULL,
    digest         bigint NOT NULL,                       -- of action and payload
    settled_at     timestamptz,
    settled_by     text,
    resolution     text CHECK (resolution IN ('dismissed', 'attached', 'created', 'confirmed')),
    note           text,
    UNIQUE (station_key, reason, digest)
);
CREATE INDEX reconciliation_open ON reconciliation (received_at, id) WHERE settled_at IS NULL;

-- Connections refused at the handshake, counted per identity and reason.
CREATE TABLE refused_connection (
    identity       text NOT NULL,
    reason         text NOT NULL,
    remote_address text NOT NULL,                         -- last seen
    detail         text NOT NULL DEFAULT '',
    first_seen_at  timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    count          bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (identity, reason)
);

CREATE TABLE api_key (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('operator')),
    key_sha256   bytea NOT NULL UNIQUE,                   -- the key has 256 bits of chance: no salt
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE node (
    name       text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);

-- Partitions. A month of table "t" is "t_2026_11"; rows that the default partition already holds
-- for it move in the same transaction. Whoever waits for the table's lock makes every writer behind
-- it wait too, and a backup reads for long: so both functions give up after two seconds.
CREATE FUNCTION ensure_month(parent text, month date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    child text := parent || to_char(month, '_YYYY_MM');
    bound text := CASE parent WHEN 'meter_reading' THEN 'stated_at'
                              WHEN 'evse_status' THEN 'received_at'
                              WHEN 'ocpp_message' THEN 'at' END;
    low   timestamptz := date_trunc('month', month::timestamp) AT TIME ZONE 'UTC';
    high  timestamptz := (date_trunc('month', month::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
    IF bound IS NULL THEN
        RAISE EXCEPTION 'table % is not partitioned by month', parent;
    END IF;
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent);
    IF to_regclass(child) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
    EXECUTE format('WITH moved AS (DELETE FROM %I WHERE %I >= $1 AND %I < $2 RETURNING *)
                    INSERT INTO %I SELECT * FROM moved', parent || '_default', bound, bound, child)
        USING low, high;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, low, high);
    IF parent = 'ocpp_message' THEN
        EXECUTE format('ALTER TABLE %I SET (toast_tuple_target = 8160)', child);
    END IF;
    RETURN true;
END $$;

-- Drops the journal's months that end at or before the moment, and such rows of the default
-- partition; returns what was dropped.
CREATE FUNCTION drop_journal_before(moment timestamptz) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    child text;
BEGIN
    FOR child IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'ocpp_message'::regclass AND c.relname ~ '_\d{4}_\d{2}$'
           AND ((to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month')::timestamp
                AT TIME ZONE 'UTC') <= moment
    LOOP
        EXECUTE format('DROP TABLE %I', child);
        RETURN NEXT child;
    END LOOP;
    DELETE FROM ocpp_message_default WHERE at < moment;
END $$;

-- Ends a statement that has found its assumptions gone: the group is not written.
CREATE FUNCTION require(holds boolean, message text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF holds IS NOT TRUE THEN
        RAISE EXCEPTION '%', message USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN true;
END $$;

REVOKE EXECUTE ON FUNCTION ensure_month(text, date), drop_journal_before(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_month(text, date), drop_journal_before(timestamptz) TO t2p_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    client, site, station, station_connection, evse, connector, token, unknown_token,
    session, meter_profile, deviation, quirk, reconciliation, refused_connection, api_key, node,
    station_event TO t2p_app;
-- Append-only: evidence is never rewritten, not even by our own code.
GRANT SELECT, INSERT ON meter_reading, evse_status, ocpp_message, session_event TO t2p_app;
REVOKE DELETE ON session FROM t2p_app;
GRANT USAGE ON SEQUENCE session_block_seq TO t2p_app;
