-- Notifications: what happened that somebody is told, to whom it goes on which way, and what came
-- of it. An event is written in the transaction that makes it true; everything after that is done
-- by workers, and can be done again.

-- Addresses of machines that are told, of a client or (its own client) of the operator.
CREATE TABLE webhook (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    url        text NOT NULL CHECK (url ~ '^https?://' AND length(url) <= 2000),
    events     text[] NOT NULL DEFAULT '{}',              -- none: all that webhooks can be told
    secret     bytea NOT NULL,                            -- sealed (csms.secrets)
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    retired_at timestamptz
);
CREATE INDEX webhook_client ON webhook (client_id) WHERE retired_at IS NULL;

CREATE TABLE notification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event       text NOT NULL,                            -- code of csms.notifications.catalogue
    at          timestamptz NOT NULL,
    client_id   bigint NOT NULL DEFAULT operator_client_id() REFERENCES client,  -- whom it concerns
    person_id   bigint REFERENCES person,                 -- whom it is for; null: see the catalogue
    subject     text NOT NULL DEFAULT '',                 -- what it is about: "session 7", "station CP-1"
    data        jsonb NOT NULL DEFAULT '{}',              -- what its text says
    secret      bytea,                                    -- links, sealed; wiped once nobody waits for it
    key         text UNIQUE,                              -- the same key is the same notification
    resolved_at timestamptz                               -- null: its deliveries are not made yet
);
CREATE INDEX notification_unresolved ON notification (id) WHERE resolved_at IS NULL;
CREATE INDEX notification_subject ON notification (event, subject, at);
CREATE INDEX notification_at ON notification (at, id);
CREATE INDEX notification_person ON notification (person_id, at) WHERE person_id IS NOT NULL;

-- One way to one recipient. What an address was is kept as proof, not the address: masked, and as
-- a digest under our key that shows whether a given address was meant.
CREATE TABLE notification_delivery (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id      uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),  -- the same at every attempt
    notification_id bigint NOT NULL REFERENCES notification ON DELETE CASCADE,
    client_id       bigint NOT NULL REFERENCES client,
    channel         text NOT NULL CHECK (channel IN ('email', 'webhook')),
    person_id       bigint REFERENCES person,             -- null: the operator's address, or a machine
    webhook_id      bigint REFERENCES webhook,
    status          text NOT NULL DEFAULT 'waiting'
                    CHECK (status IN ('waiting', 'sent', 'dead', 'dropped')),
    reason          text,                                 -- why it is dead or dropped
    created_at      timestamptz NOT NULL,
    next_at         timestamptz NOT NULL,                 -- not before: quiet hours, back-off
    give_up_at      timestamptz NOT NULL,
    attempts        smallint NOT NULL DEFAULT 0,
    leased_until    timestamptz,                          -- somebody is at it
    lease           uuid,                                 -- who: the result of another is not taken
    tried_at        timestamptz,
    finished_at     timestamptz,
    address_masked  text,
    address_digest  bytea,
    reply           text,                                 -- of the server, at the last attempt
    CHECK ((channel = 'webhook') = (webhook_id IS NOT NULL)),
    CHECK ((status = 'waiting') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX notification_delivery_once ON notification_delivery
    (notification_id, channel, coalesce(person_id, 0), coalesce(webhook_id, 0));
CREATE INDEX notification_delivery_due ON notification_delivery (channel, next_at) WHERE status = 'waiting';
CREATE INDEX notification_delivery_person ON notification_delivery (person_id, id);
CREATE INDEX notification_delivery_dead ON notification_delivery (id) WHERE status = 'dead';

-- What a person wants or does not want, where the catalogue leaves it to her.
CREATE TABLE notification_preference (
    person_id  bigint NOT NULL REFERENCES person,
    category   text NOT NULL,
    channel    text NOT NULL CHECK (channel IN ('email')),
    enabled    boolean NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (person_id, category, channel)
);

-- Hours in which only what cannot wait is sent; one that ends before its begin ends the next day.
CREATE TABLE quiet_hours (
    person_id   bigint PRIMARY KEY REFERENCES person,
    from_minute smallint NOT NULL CHECK (from_minute BETWEEN 0 AND 1439),
    to_minute   smallint NOT NULL CHECK (to_minute BETWEEN 0 AND 1439),
    time_zone   text NOT NULL DEFAULT 'Europe/Paris',
    updated_at  timestamptz NOT NULL,
    CHECK (from_minute <> to_minute)
);

-- "Tell me when it is free": once, of a point, a station or any point of a site.
CREATE TABLE point_watch (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id    bigint NOT NULL REFERENCES person,
    site_id      text REFERENCES site ON UPDATE CASCADE,
    station_key  integer REFERENCES station,
    evse_id      integer CHECK (evse_id >= 1),            -- null: any of the station
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    fulfilled_at timestamptz,
    cancelled_at timestamptz,
    CHECK ((site_id IS NULL) <> (station_key IS NULL)),
    CHECK (evse_id IS NULL OR station_key IS NOT NULL)
);
CREATE UNIQUE INDEX point_watch_open ON point_watch
    (person_id, coalesce(site_id, ''), coalesce(station_key, 0), coalesce(evse_id, 0))
    WHERE fulfilled_at IS NULL AND cancelled_at IS NULL;

SELECT secure_tables();

CREATE POLICY own ON notification_preference FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON quiet_hours FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON point_watch FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON notification_delivery FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON notification FOR SELECT TO t2p_app
    USING (id IN (SELECT notification_id FROM notification_delivery));
CREATE POLICY managed ON webhook FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));

GRANT SELECT ON notification_preference, quiet_hours, point_watch TO t2p_app;
GRANT SELECT (id, event, at, subject) ON notification TO t2p_app;
GRANT SELECT (id, message_id, notification_id, client_id, channel, person_id, status, reason,
              created_at, finished_at, address_masked) ON notification_delivery TO t2p_app;
GRANT SELECT (id, client_id, url, events, created_at, created_by, updated_at, retired_at)
    ON webhook TO t2p_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notification, notification_delivery, notification_preference,
    quiet_hours TO t2p_service;
GRANT SELECT, INSERT, UPDATE ON webhook, point_watch TO t2p_service;
