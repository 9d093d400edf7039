-- Orders to stations, and what they answer; who holds a station's socket among several nodes.

-- Each connection takes its generation when it is let in, on whichever node: the higher one is the
-- newer one, and only the highest may act for the station.
CREATE SEQUENCE station_generation_seq;
SELECT setval('station_generation_seq', (SELECT coalesce(max(generation), 0) + 1 FROM station_connection));

-- An order is written once and runs at most once: what was given to a socket is never given to
-- another. Rows stay; what an order did is evidence.
CREATE TABLE command (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key   integer NOT NULL REFERENCES station,
    protocol      text NOT NULL,                          -- whose schema the payload was held to
    action        text NOT NULL,
    payload       text NOT NULL,                          -- JSON text, as on the wire
    origin        text NOT NULL,                          -- operator, or us:<why>
    created_by    text,                                   -- name of the API key; null: nobody's
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,                   -- not sent after that
    status        text NOT NULL DEFAULT 'queued'
                  CHECK (status IN ('queued', 'sent', 'accepted', 'rejected', 'failed', 'expired',
                                    'cancelled')),
    node          text,                                   -- that sent it, on which connection
    generation    bigint,
    message_id    text,                                   -- of the first call; "-n" for further ones
    sent_at       timestamptz,
    due_at        timestamptz,                            -- no answer by then: there is none
    finished_at   timestamptz,
    response      text,                                   -- JSON text of the answer's payload
    error         text,                                   -- JSON text: code, description, details
    late_at       timestamptz,                            -- the answer came after it was given up
    request_id    integer,                                -- repeated in the reports that follow
    parts         text NOT NULL DEFAULT 'none'            -- of an answer in several messages
                  CHECK (parts IN ('none', 'awaited', 'complete', 'overdue', 'late')),
    parts_due_at  timestamptz,
    CHECK ((status IN ('queued', 'sent')) = (finished_at IS NULL)),
    CHECK (status <> 'sent' OR (message_id IS NOT NULL AND due_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX command_queued ON command (station_key, id) WHERE status = 'queued';
CREATE INDEX command_sent ON command (due_at) WHERE status = 'sent';
CREATE INDEX command_parts ON command (parts_due_at) WHERE parts = 'awaited';
CREATE INDEX command_expiring ON command (expires_at) WHERE status = 'queued';
CREATE INDEX command_station ON command (station_key, id DESC);
CREATE INDEX command_request ON command (station_key, request_id) WHERE request_id IS NOT NULL;

ALTER TABLE station_event ADD COLUMN command_id bigint REFERENCES command;
CREATE INDEX station_event_command ON station_event (command_id) WHERE command_id IS NOT NULL;

-- What it spoke when it last booted; known with the answer to its boot, a moment before the row of
-- its connection is there.
ALTER TABLE station ADD COLUMN spoken text;

ALTER TABLE node ADD COLUMN draining boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE ON command TO t2p_app;
GRANT USAGE ON SEQUENCE station_generation_seq TO t2p_app;
