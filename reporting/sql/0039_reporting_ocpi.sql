-- Partners over OCPI 2.2.1: who they are, which sites they are told of, whose tokens may charge
-- there, and what they were told. What waits to be told is in outlet_item.

-- A hub, or a partner without one. It is invited with a token of ours, good once, or registered by
-- us with one of theirs. Only fingerprints are kept of tokens by which it proves itself to us.
CREATE TABLE ocpi_partner (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug              text NOT NULL UNIQUE CHECK (slug ~ '^[a-z]{2,20}$'),  -- its outlet: ocpi.<slug>
    name              text NOT NULL CHECK (name <> ''),
    country_code      text NOT NULL CHECK (country_code ~ '^[A-Z]{2}$'),
    party_id          text NOT NULL CHECK (party_id ~ '^[A-Z0-9]{3}$'),
    person_id         bigint REFERENCES driver,           -- account that roaming is invoiced to; null: none
    invitation_sha256 bytea UNIQUE,                       -- token A, until it is used
    our_sha256        bytea UNIQUE,                       -- token by which it speaks to us
    their_token       bytea,                              -- by which we speak to it: sealed (csms.secrets)
    versions_url      text,
    endpoints         jsonb NOT NULL DEFAULT '[]',        -- of its version: identifier, role, url
    registered_at     timestamptz,                        -- null: not now
    created_at        timestamptz NOT NULL,
    created_by        text NOT NULL,
    closed_at         timestamptz,
    CHECK ((registered_at IS NULL) = (our_sha256 IS NULL)),
    CHECK ((registered_at IS NULL) = (their_token IS NULL))
);

-- Where a partner is told of a site: its places, statuses and the sessions of its own drivers
-- (roaming), or all sessions without any driver (advenir, of subsidised private points).
CREATE TABLE ocpi_site (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner_id bigint NOT NULL REFERENCES ocpi_partner,
    site_id    text NOT NULL REFERENCES site ON UPDATE CASCADE,
    feed       text NOT NULL CHECK (feed IN ('roaming', 'advenir')),
    from_at    timestamptz NOT NULL,
    to_at      timestamptz CHECK (to_at >= from_at),
    created_by text NOT NULL,
    ended_by   text,
    EXCLUDE USING gist (int8range(partner_id, partner_id, '[]') WITH &&,
                        int8range(hashtextextended(site_id || chr(31) || feed, 0),
                                  hashtextextended(site_id || chr(31) || feed, 0), '[]') WITH &&,
                        tstzrange(from_at, to_at) WITH &&)
);
CREATE INDEX ocpi_site_site ON ocpi_site (site_id);

-- Tokens that a partner told us of, or that came with its answers.
CREATE TABLE ocpi_token (
    partner_id   bigint NOT NULL REFERENCES ocpi_partner,
    country_code text NOT NULL,
    party_id     text NOT NULL,
    uid_key      text NOT NULL,                           -- in small letters
    type         text NOT NULL,
    content      jsonb NOT NULL,                          -- OCPI Token
    last_updated timestamptz NOT NULL,                    -- the partner's own time
    received_at  timestamptz NOT NULL,
    PRIMARY KEY (partner_id, country_code, party_id, uid_key, type)
);
CREATE INDEX ocpi_token_uid ON ocpi_token (uid_key);

-- What a partner said of a token that was shown, or that it starts with; the newest one counts.
CREATE TABLE roaming_grant (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner_id  bigint NOT NULL REFERENCES ocpi_partner,
    client_id   bigint NOT NULL REFERENCES client,        -- whose point it is
    station_key integer NOT NULL REFERENCES station,
    evse_id     integer,                                  -- null: the station did not say
    uid_key     text NOT NULL,                            -- what the station says, in small letters
    allowed     text NOT NULL CHECK (allowed IN ('ALLOWED', 'BLOCKED', 'EXPIRED', 'NO_CREDIT', 'NOT_ALLOWED')),
    method      text NOT NULL CHECK (method IN ('AUTH_REQUEST', 'COMMAND', 'WHITELIST')),
    reference   text,
    token       jsonb NOT NULL,                           -- CdrToken: country_code, party_id, uid, type, contract_id
    at          timestamptz NOT NULL,
    valid_until timestamptz NOT NULL                      -- a start after that is asked about again
);
CREATE INDEX roaming_grant_uid ON roaming_grant (uid_key, id DESC);
CREATE INDEX roaming_grant_client ON roaming_grant (client_id);
CREATE INDEX roaming_grant_partner ON roaming_grant (partner_id, at);

-- A partner's order to start or stop, and the order to the station that it became.
CREATE TABLE ocpi_command (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner_id   bigint NOT NULL REFERENCES ocpi_partner,
    client_id    bigint NOT NULL REFERENCES client,
    kind         text NOT NULL CHECK (kind IN ('START_SESSION', 'STOP_SESSION')),
    command_id   bigint NOT NULL REFERENCES command,
    response_url text NOT NULL,
    digest       bytea NOT NULL,                          -- of what was asked: the same soon again is the same
    created_at   timestamptz NOT NULL
);
CREATE INDEX ocpi_command_digest ON ocpi_command (partner_id, digest);
CREATE INDEX ocpi_command_order ON ocpi_command (command_id);
CREATE INDEX ocpi_command_client ON ocpi_command (client_id);

-- The newest that was made to be told of each object: what lists answer, and what changes are
-- found against.
CREATE TABLE ocpi_told (
    partner_id bigint NOT NULL REFERENCES ocpi_partner,
    module     text NOT NULL CHECK (module IN ('locations', 'evses', 'tariffs', 'sessions', 'cdrs')),
    object_id  text NOT NULL,
    client_id  bigint NOT NULL REFERENCES client,
    parent_id  text,                                      -- of an EVSE: its location
    content    jsonb NOT NULL,                            -- as told; of an EVSE its status alone
    at         timestamptz NOT NULL,                      -- last_updated
    is_open    boolean NOT NULL DEFAULT false,            -- of a session: something of it is still to be told
    PRIMARY KEY (partner_id, module, object_id)
);
CREATE INDEX ocpi_told_at ON ocpi_told (partner_id, module, at, object_id);
CREATE INDEX ocpi_told_client ON ocpi_told (client_id);
CREATE INDEX ocpi_told_open ON ocpi_told (partner_id, module) WHERE is_open;

GRANT SELECT, INSERT, UPDATE ON ocpi_partner, ocpi_site TO t2p_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ocpi_token TO t2p_service;
GRANT SELECT, INSERT, DELETE ON roaming_grant TO t2p_service;  -- never changed; deleted in its time
GRANT SELECT, INSERT ON ocpi_command TO t2p_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ocpi_told TO t2p_service;
SELECT secure_tables();
