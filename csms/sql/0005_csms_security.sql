-- Passwords and profiles that change by order, requests for certificates, and certificates.

-- What a station was told to use from now on, or may have been: valid beside what it used before
-- until it has come in with it.
ALTER TABLE station
    ADD COLUMN password_hash_next    text,
    ADD COLUMN password_next_at      timestamptz,
    ADD COLUMN security_profile_next smallint CHECK (security_profile_next BETWEEN 0 AND 3);

-- A station's request to have its key certified (CSR): the event that brought it, and what became
-- of it. Signed once, by a person's word or by the setting's.
CREATE TABLE certificate_request (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key integer NOT NULL REFERENCES station ON DELETE CASCADE,
    event_id    bigint NOT NULL UNIQUE REFERENCES station_event ON DELETE CASCADE,
    received_at timestamptz NOT NULL,
    csr         text NOT NULL,
    subject     text NOT NULL,
    status      text NOT NULL CHECK (status IN ('waiting', 'approved', 'signed', 'rejected')),
    reason      text,                                     -- why it was rejected
    decided_by  text,                                     -- name of the API key; null: the setting
    decided_at  timestamptz,
    command_id  bigint REFERENCES command                 -- CertificateSigned
);
CREATE INDEX certificate_request_open ON certificate_request (id) WHERE status IN ('waiting', 'approved');

-- Certificates that we issued to stations.
CREATE TABLE station_certificate (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key        integer NOT NULL REFERENCES station ON DELETE CASCADE,
    request_id         bigint UNIQUE REFERENCES certificate_request,
    serial             text NOT NULL,                     -- hex
    fingerprint_sha256 text NOT NULL UNIQUE,              -- hex
    subject            text NOT NULL,
    issuer             text NOT NULL,
    not_before         timestamptz NOT NULL,
    not_after          timestamptz NOT NULL,
    chain              text NOT NULL,                     -- PEM
    revoked_at         timestamptz,
    warned_at          timestamptz                        -- that its end is near
);
CREATE INDEX station_certificate_station ON station_certificate (station_key, not_after);

CREATE INDEX station_event_kind ON station_event (kind, id DESC);

GRANT SELECT, INSERT, UPDATE ON certificate_request, station_certificate TO t2p_app;
