-- What people say of sites for the reports: windows of planned work and exclusions, and the power
-- that is subscribed.

-- A window leaves the time of its place out of the availability: a site's, one of its stations', or
-- a point's. It is never changed: one that was wrong is revoked, and stays readable. Windows of both
-- kinds may overlap: what is excluded is said first, and nothing of the other is lost.
CREATE TABLE availability_window (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint NOT NULL REFERENCES client,
    site_id     text NOT NULL,
    station_key integer REFERENCES station ON DELETE CASCADE,  -- null: the site as a whole
    evse_id     integer CHECK (evse_id >= 1),             -- null: the station as a whole
    kind        text NOT NULL CHECK (kind IN ('planned', 'excluded')),
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    cause       text NOT NULL CHECK (cause <> '' AND length(cause) <= 500),
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    revoked_at  timestamptz,
    revoked_by  text,
    revoked_for text CHECK (revoked_for <> ''),
    CHECK (ends_at > starts_at),
    CHECK (evse_id IS NULL OR station_key IS NOT NULL),
    CHECK (num_nonnulls(revoked_at, revoked_by, revoked_for) IN (0, 3)),
    FOREIGN KEY (client_id, site_id) REFERENCES site (client_id, id) ON UPDATE CASCADE
);
CREATE INDEX availability_window_client ON availability_window (client_id);
CREATE INDEX availability_window_site ON availability_window (site_id, starts_at);
CREATE UNIQUE INDEX availability_window_once ON availability_window
    (site_id, coalesce(station_key, 0), coalesce(evse_id, 0), kind, starts_at, ends_at)
    WHERE revoked_at IS NULL;

-- The power that a site's delivery point has subscribed, from a day of Paris on until the next row.
CREATE TABLE subscribed_power (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id          bigint NOT NULL REFERENCES client,
    site_id            text NOT NULL,
    from_on            date NOT NULL,
    subscribed_power_w integer NOT NULL CHECK (subscribed_power_w BETWEEN 1 AND 1000000000),
    created_at         timestamptz NOT NULL,
    created_by         text NOT NULL,
    withdrawn_at       timestamptz,                       -- it was wrong
    withdrawn_by       text,
    CHECK (num_nonnulls(withdrawn_at, withdrawn_by) IN (0, 2)),
    FOREIGN KEY (client_id, site_id) REFERENCES site (client_id, id) ON UPDATE CASCADE
);
CREATE INDEX subscribed_power_client ON subscribed_power (client_id);
CREATE UNIQUE INDEX subscribed_power_once ON subscribed_power (site_id, from_on)
    WHERE withdrawn_at IS NULL;

GRANT SELECT, INSERT ON availability_window, subscribed_power TO t2p_service;
GRANT UPDATE (revoked_at, revoked_by, revoked_for) ON availability_window TO t2p_service;
GRANT UPDATE (withdrawn_at, withdrawn_by) ON subscribed_power TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON availability_window FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON subscribed_power FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON availability_window, subscribed_power TO t2p_app;
