-- What drivers pay: tariffs with their versions, where and for whom each holds, and VAT rates by date.
--
-- Prices are to the driver, VAT included. A tariff's content is that of an OCPI 2.2.1 Tariff
-- (billing.tariff reads it). Ranges include their beginning and not their end; null: until further
-- notice. The version in force at a session's start holds for all of it.

CREATE TABLE tariff (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL REFERENCES client,
    code       text NOT NULL CHECK (code ~ '^[A-Za-z0-9_-]{1,36}$'),  -- OCPI's CiString(36)
    name       text NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    UNIQUE (client_id, id)
);
CREATE UNIQUE INDEX tariff_code ON tariff (client_id, lower(code)) WHERE retired_at IS NULL;

CREATE TABLE tariff_version (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id  bigint NOT NULL,
    tariff_id  bigint NOT NULL,
    from_at    timestamptz NOT NULL,
    to_at      timestamptz CHECK (to_at > from_at),
    content    jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,                             -- actor, as the audit names it
    FOREIGN KEY (client_id, tariff_id) REFERENCES tariff (client_id, id),
    UNIQUE (client_id, id),
    EXCLUDE USING gist (int8range(tariff_id, tariff_id, '[]') WITH &&, tstzrange(from_at, to_at) WITH &&)
);
CREATE INDEX tariff_version_tariff ON tariff_version (client_id, tariff_id);

-- Where and for whom a tariff holds: the whole client, a site, a station, one EVSE; everybody, or
-- the drivers of a group. The narrowest place wins, then the group.
CREATE TABLE tariff_scope (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   bigint NOT NULL,
    tariff_id   bigint NOT NULL,
    site_id     text REFERENCES site ON UPDATE CASCADE,   -- may have moved to another client since
    station_key integer REFERENCES station,
    evse_id     integer,
    group_id    bigint REFERENCES driver_group,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz CHECK (to_at >= from_at),     -- equal: it never took effect
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    place_hash  bigint GENERATED ALWAYS AS (hashtextextended(
                    coalesce(site_id, '') || chr(31) || coalesce(station_key::text, '') || chr(31)
                    || coalesce(evse_id::text, '') || chr(31) || coalesce(group_id::text, ''), 0)) STORED,
    FOREIGN KEY (client_id, tariff_id) REFERENCES tariff (client_id, id),
    CHECK (site_id IS NULL OR station_key IS NULL),
    CHECK (evse_id IS NULL OR station_key IS NOT NULL),
    EXCLUDE USING gist (int8range(client_id, client_id, '[]') WITH &&,
                        int8range(place_hash, place_hash, '[]') WITH &&,
                        tstzrange(from_at, to_at) WITH &&)
);
CREATE INDEX tariff_scope_client ON tariff_scope (client_id);
CREATE INDEX tariff_scope_tariff ON tariff_scope (tariff_id);

-- The normal rate of VAT by date, of charging and of the operator's own sales alike.
CREATE TABLE vat_rate (
    from_on date PRIMARY KEY,
    to_on   date CHECK (to_on > from_on),
    percent numeric(5, 2) NOT NULL CHECK (percent BETWEEN 0 AND 100),
    source  text NOT NULL CHECK (source <> ''),
    EXCLUDE USING gist (daterange(from_on, to_on) WITH &&)
);
INSERT INTO vat_rate VALUES ('2014-01-01', NULL, 20.00, 'CGI, article 278');

-- How often drivers get an invoice, by the Devis.
ALTER TABLE contract_terms
    ADD COLUMN invoicing text NOT NULL DEFAULT 'per_driver_month'
        CHECK (invoicing IN ('per_use', 'per_driver_month'));

-- A session with its price: made once, never changed. Amounts are to the cent; `month` is the first
-- day of the month, in Paris, in which it ended.
CREATE TABLE priced_session (
    session_id         bigint PRIMARY KEY REFERENCES session,
    client_id          bigint NOT NULL REFERENCES client,
    month              date NOT NULL CHECK (extract(day FROM month) = 1),
    supplied_on        date NOT NULL,                     -- day of the end, in Paris
    site_id            text,
    station_key        integer NOT NULL REFERENCES station,
    evse_id            integer,
    person_id          bigint NOT NULL REFERENCES driver,
    tariff_version_id  bigint NOT NULL REFERENCES tariff_version,
    vat_case           text NOT NULL CHECK (vat_case IN ('redevable', 'franchise', 'non_assujetti')),
    started_at         timestamptz NOT NULL,              -- of the session, as it was priced
    ended_at           timestamptz NOT NULL,
    energy_wh          bigint NOT NULL CHECK (energy_wh >= 0),
    amount_excl_cents  bigint NOT NULL,
    vat_cents          bigint NOT NULL,
    amount_incl_cents  bigint NOT NULL,
    is_estimated       boolean NOT NULL,
    lines              jsonb NOT NULL,                    -- billing.tariff.Line, in order
    priced_at          timestamptz NOT NULL,
    CHECK (amount_incl_cents = amount_excl_cents + vat_cents)
);
CREATE INDEX priced_session_month ON priced_session (client_id, month, person_id);
CREATE INDEX priced_session_person ON priced_session (person_id, month);

-- What stopped a piece of work, in words for whoever mends it; the next run tries again.
CREATE TABLE billing_problem (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stage       text NOT NULL CHECK (stage IN ('price', 'issue', 'close', 'send', 'receipt')),
    subject     text NOT NULL,                            -- "session 12", "client 3 2026-10"
    client_id   bigint REFERENCES client,
    month       date,
    session_id  bigint REFERENCES session,
    cause       text NOT NULL CHECK (cause ~ '^[a-z_]+$'),-- stable code
    message     text NOT NULL,                            -- what happened, where
    remedy      text NOT NULL,                            -- what to do
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX billing_problem_open ON billing_problem (stage, subject) WHERE resolved_at IS NULL;
CREATE INDEX billing_problem_client ON billing_problem (client_id, month) WHERE resolved_at IS NULL;
CREATE INDEX billing_problem_session ON billing_problem (session_id);

CREATE TRIGGER priced_session_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON priced_session
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE ON tariff, tariff_version, tariff_scope, billing_problem TO t2p_service;
GRANT SELECT, INSERT ON vat_rate, priced_session TO t2p_service;
GRANT UPDATE (to_on) ON vat_rate TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON tariff FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON tariff_version FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON tariff_scope FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON priced_session FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY own ON priced_session FOR SELECT TO t2p_app
    USING (person_id = (SELECT acting_person()));
GRANT SELECT ON tariff, tariff_version, tariff_scope, priced_session TO t2p_app;
