-- How the three large tables are kept: native monthly partitions, or TimescaleDB's hypertables
-- where the server has it. csms.timeseries decides, once, and moves what is there.
CREATE TABLE schema_storage (
    kind       text NOT NULL CHECK (kind IN ('native', 'timescale')),
    decided_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX schema_storage_one ON schema_storage ((true));
INSERT INTO schema_storage (kind) VALUES ('native');

-- Days that are over, counted; the views message_day, status_day and reading_day put the days that
-- are not beside them. Where TimescaleDB keeps continuous aggregates these tables give way to them.
CREATE TABLE message_rollup (
    station_key integer NOT NULL,
    direction   text NOT NULL,
    action      text NOT NULL,                            -- '' what could not be read
    day         timestamptz NOT NULL,                     -- midnight UTC
    messages    bigint NOT NULL,
    answered    bigint NOT NULL,
    PRIMARY KEY (station_key, direction, action, day)
);
CREATE TABLE status_rollup (
    station_key integer NOT NULL,
    evse_id     integer NOT NULL,
    status      text NOT NULL,
    day         timestamptz NOT NULL,
    changes     bigint NOT NULL,
    PRIMARY KEY (station_key, evse_id, status, day)
);
CREATE TABLE reading_rollup (
    station_key integer NOT NULL,
    evse_id     integer NOT NULL,                         -- 0: none was named
    day         timestamptz NOT NULL,                     -- of the station's own time
    readings    bigint NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    PRIMARY KEY (station_key, evse_id, day)
);

-- Up to when each is counted; what came after that moment is counted anew with its day.
CREATE TABLE schema_rollup (
    name       text PRIMARY KEY,
    counted_to timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO schema_rollup (name) VALUES ('message'), ('status'), ('reading');

-- Late readings are found by when they came.
CREATE INDEX meter_reading_received ON meter_reading USING brin (received_at);

GRANT SELECT ON schema_storage TO t2p_app;
GRANT SELECT, UPDATE ON schema_rollup TO t2p_app;
GRANT SELECT, INSERT, DELETE ON message_rollup, status_rollup, reading_rollup TO t2p_app;
