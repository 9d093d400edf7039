-- Limits of power that people set, for a while or until further notice: of a station, or of a site.
CREATE TABLE power_limit (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint NOT NULL REFERENCES client,
    site_id     text,
    station_key integer REFERENCES station,
    evse_id     integer CHECK (evse_id >= 1),             -- null: the station, or site, as a whole
    limit_w     integer NOT NULL CHECK (limit_w >= 0),
    from_at     timestamptz NOT NULL,
    to_at       timestamptz,                              -- null: until further notice
    reason      text NOT NULL DEFAULT '',
    created_by  text,                                     -- name of the API key
    created_at  timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz,
    FOREIGN KEY (client_id, site_id) REFERENCES site (client_id, id),
    CHECK ((site_id IS NULL) <> (station_key IS NULL)),
    CHECK (evse_id IS NULL OR station_key IS NOT NULL),
    CHECK (to_at > from_at)
);
CREATE INDEX power_limit_station ON power_limit (station_key) WHERE retired_at IS NULL;
CREATE INDEX power_limit_site ON power_limit (site_id) WHERE retired_at IS NULL;

GRANT SELECT, INSERT, UPDATE ON power_limit TO t2p_app;
