-- Drivers at points: addresses that last, starts that they asked for, reservations.

-- A point is an EVSE under an address that never changes: it stands on stickers. The row outlives
-- that of its EVSE, which goes and comes back when a station is configured anew. Codes are short, to
-- be typed, and follow from nothing: whoever knows one knows no other.
CREATE FUNCTION new_point_code() RETURNS text LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    alphabet constant text := '23456789ABCDEFGHJKMNPQRSTUVWXYZ';
    chance bytea;
    made text;
BEGIN
    LOOP
        chance := uuid_send(gen_random_uuid());  -- its first six bytes are all chance
        SELECT string_agg(substr(alphabet, get_byte(chance, n) % 31 + 1, 1), '' ORDER BY n)
          INTO made FROM generate_series(0, 5) n;
        EXIT WHEN NOT EXISTS (SELECT FROM point p WHERE p.code = made);
    END LOOP;
    RETURN made;
END $$;

CREATE TABLE point (
    code        text PRIMARY KEY CHECK (code ~ '^[2-9A-HJKMNP-Z]{6}$'),
    station_key integer NOT NULL REFERENCES station ON DELETE CASCADE,
    evse_id     integer NOT NULL CHECK (evse_id >= 1),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (station_key, evse_id)
);

CREATE FUNCTION give_point_a_code() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM point WHERE station_key = NEW.station_key AND evse_id = NEW.evse_id) THEN
        INSERT INTO point (code, station_key, evse_id)
            VALUES (new_point_code(), NEW.station_key, NEW.evse_id)
            ON CONFLICT (station_key, evse_id) DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
INSERT INTO point (code, station_key, evse_id)
    SELECT new_point_code(), station_key, evse_id FROM evse;
CREATE TRIGGER evse_point AFTER INSERT ON evse FOR EACH ROW EXECUTE FUNCTION give_point_a_code();

-- A number of degrees in static data, which may hold anything; null: it is none.
CREATE FUNCTION degrees_in(value jsonb, most double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT CASE WHEN jsonb_typeof(value) = 'number' AND abs(value::numeric) <= most
                      THEN value::double precision END $$;

-- A start that a driver asked for from afar. What came of it is read from its order and its session.
CREATE TABLE session_start (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id       bigint NOT NULL REFERENCES driver,
    client_id       bigint NOT NULL REFERENCES client,
    station_key     integer NOT NULL REFERENCES station,
    evse_id         integer NOT NULL,
    connector_id    integer,
    uid_key         text NOT NULL REFERENCES token,       -- the badge that stands for the driver's app
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 100),
    created_at      timestamptz NOT NULL,
    due_at          timestamptz NOT NULL,                 -- accepted and no session by then: ignored
    command_id      bigint REFERENCES command,
    remote_start_id integer,                              -- as in the order; 1.6 has none
    UNIQUE (person_id, idempotency_key)
);
CREATE INDEX session_start_person ON session_start (person_id, id DESC);
CREATE INDEX session_start_point ON session_start (station_key, evse_id, created_at);

-- States and what leads from one to the next: csms/domain/reservation.py. Ids go over the wire.
CREATE TABLE reservation (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id    bigint NOT NULL REFERENCES driver,
    client_id    bigint NOT NULL REFERENCES client,
    station_key  integer NOT NULL REFERENCES station,
    evse_id      integer CHECK (evse_id >= 1),            -- null: the station as a whole
    uid_key      text NOT NULL REFERENCES token,          -- the badge that the station is told
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL,
    lapses_at    timestamptz NOT NULL,                    -- not there by then: given up
    state        text NOT NULL DEFAULT 'requested'
                 CHECK (state IN ('requested', 'placed', 'confirmed', 'rejected', 'used', 'cancelled',
                                  'expired', 'no_show')),
    soft         boolean NOT NULL DEFAULT false,          -- confirmed, and kept by us alone
    soft_why     text,                                    -- rejected, occupied, unsupported, silent, offline, dropped
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,                           -- "person 7", "key demo"
    placed_at    timestamptz,
    command_id   bigint REFERENCES command,               -- that told the station
    confirmed_at timestamptz,
    session_id   bigint,                                  -- that used it
    ended_at     timestamptz,                             -- used, cancelled, ...
    ended_by     text,
    released_at  timestamptz,                             -- others may have the point from then on
    CHECK (to_at > from_at),
    CHECK (lapses_at > from_at AND lapses_at <= to_at),
    CHECK ((state IN ('requested', 'placed', 'confirmed')) = (ended_at IS NULL)),
    CHECK ((state = 'used') = (session_id IS NOT NULL)),
    -- An EVSE is kept for one at a time, and nothing of a station that is kept as a whole for another.
    CONSTRAINT reservation_overlap EXCLUDE USING gist (
        int4range(station_key, station_key, '[]') WITH &&,
        int4range(evse_id, evse_id, '[]') WITH &&,
        tstzrange(from_at, greatest(from_at, coalesce(released_at, to_at))) WITH &&)
        WHERE (state IN ('requested', 'placed', 'confirmed', 'used'))
);
CREATE INDEX reservation_person ON reservation (person_id, id DESC);
CREATE INDEX reservation_client ON reservation (client_id, id DESC);
CREATE INDEX reservation_station ON reservation (station_key, id DESC);
CREATE INDEX reservation_open ON reservation (station_key)
    WHERE state IN ('requested', 'placed', 'confirmed');
CREATE INDEX reservation_using ON reservation (session_id) WHERE state = 'used' AND released_at IS NULL;

SELECT secure_tables();

CREATE POLICY managed ON point FOR SELECT TO t2p_app
    USING (station_key IN (SELECT station_key FROM station));
CREATE POLICY managed ON reservation FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON reservation FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON session_start FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));

GRANT SELECT ON point, session_start, reservation TO t2p_app;
GRANT SELECT, INSERT, UPDATE ON point, session_start, reservation TO t2p_service;
