-- People: who they are, how they prove it, what they may do; and what the database lets them see.
--
-- Two roles of ours. t2p_service is what machines run as: gateways, workers, the command line, and
-- the requests of operators; every policy lets it through. t2p_app is what requests of everybody
-- else run as: it owns nothing, may read little, and sees no row until the transaction says for
-- whom it works (`SET LOCAL t2p.person_id`); then those of that person, and those of the clients
-- that she manages. A login is t2p_app, or a member of it; it becomes t2p_service by name only.

-- What the application's role could do so far, the machines' role can; it itself begins anew.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT c.relname, c.relkind, string_agg(DISTINCT a.privilege_type, ', ') AS rights
          FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
         WHERE c.relnamespace = current_schema()::regnamespace AND a.grantee = 't2p_app'::regrole
           AND c.relname <> 'schema_migration'
         GROUP BY c.relname, c.relkind
    LOOP
        EXECUTE format('GRANT %s ON %s %I TO t2p_service', granted.rights,
                       CASE granted.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, granted.relname);
        EXECUTE format('REVOKE ALL ON %s %I FROM t2p_app',
                       CASE granted.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, granted.relname);
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION ensure_month(text, date), drop_journal_before(timestamptz) FROM t2p_app;
GRANT EXECUTE ON FUNCTION ensure_month(text, date), drop_journal_before(timestamptz) TO t2p_service;

-- --- People -------------------------------------------------------------------------------------

CREATE TABLE person (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email               text CHECK (email <> '' AND length(email) <= 254),  -- null: no log-in
    given_name          text NOT NULL DEFAULT '',
    family_name         text NOT NULL DEFAULT '',
    phone               text,
    language            text NOT NULL DEFAULT 'fr' CHECK (language IN ('fr', 'en')),
    operator_roles      text[] NOT NULL DEFAULT '{}'
                        CHECK (operator_roles <@ ARRAY['read', 'operate', 'finance', 'admin']),
    password_hash       text,                             -- null: invited, or reset by an operator
    password_changed_at timestamptz,
    email_verified_at   timestamptz,
    totp_secret         bytea,                            -- sealed (csms.secrets), never in clear
    totp_confirmed_at   timestamptz,
    totp_last_step      bigint NOT NULL DEFAULT 0,        -- a code is good once
    recovery_sha256     bytea[] NOT NULL DEFAULT '{}',    -- of codes not yet used
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    blocked_at          timestamptz,                      -- by an operator: no log-in, no charging
    closed_at           timestamptz,                      -- the account is over
    erased_at           timestamptz                       -- nothing personal is left in it
);
CREATE UNIQUE INDEX person_email ON person (lower(email));

-- Who manages a client. A person may manage several; each for a time.
CREATE TABLE client_manager (
    person_id  bigint NOT NULL REFERENCES person,
    client_id  bigint NOT NULL REFERENCES client,
    from_at    timestamptz NOT NULL DEFAULT now(),
    to_at      timestamptz,                               -- null: until further notice
    granted_by text NOT NULL,
    CHECK (to_at > from_at),
    PRIMARY KEY (person_id, client_id, from_at)
);
CREATE INDEX client_manager_client ON client_manager (client_id);

-- One log-in: a browser's (its cookie) or a program's (access and refresh token). Secrets have 256
-- bits of chance; only their SHA-256 is kept.
CREATE TABLE login_session (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id         bigint NOT NULL REFERENCES person,
    kind              text NOT NULL CHECK (kind IN ('page', 'api')),
    secret_sha256     bytea NOT NULL UNIQUE,              -- cookie, or access token
    secret_expires_at timestamptz NOT NULL,
    refresh_sha256    bytea UNIQUE,                       -- api only
    refresh_former_sha256 bytea UNIQUE,                   -- shown again: it was stolen, or a lost answer
    refresh_expires_at timestamptz,
    second_factor_at  timestamptz,                        -- null: password alone
    created_at        timestamptz NOT NULL,
    last_used_at      timestamptz NOT NULL,
    ended_at          timestamptz,
    ended_why         text,                               -- logged out, expired, password, reuse, ...
    remote_address    text NOT NULL,
    user_agent        text NOT NULL DEFAULT ''
);
CREATE INDEX login_session_person ON login_session (person_id) WHERE ended_at IS NULL;

-- Links that are good once: invitations, resets of the password, changes of address.
CREATE TABLE one_time_link (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id    bigint NOT NULL REFERENCES person,
    purpose      text NOT NULL CHECK (purpose IN ('invitation', 'reset', 'email')),
    token_sha256 bytea NOT NULL UNIQUE,
    email        text,                                    -- the new address, for purpose email
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE INDEX one_time_link_person ON one_time_link (person_id, purpose) WHERE used_at IS NULL;

-- Failures to log in, counted by what may fail too often (an account from one place, a place as a
-- whole), as digests: the list holds no address of anybody.
CREATE TABLE login_failure (
    key_sha256      bytea PRIMARY KEY,
    count           integer NOT NULL,
    first_at        timestamptz NOT NULL,
    last_at         timestamptz NOT NULL
);
CREATE INDEX login_failure_last ON login_failure (last_at);

-- Browsers in which a person has logged in before: others cannot lock her out of them.
CREATE TABLE trusted_device (
    person_id    bigint NOT NULL REFERENCES person,
    token_sha256 bytea PRIMARY KEY,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX trusted_device_person ON trusted_device (person_id);

-- Keys of machines: what they may do (scopes), and for which client; null: for the operator.
ALTER TABLE api_key
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{read,operate,finance,admin}',
    ADD COLUMN client_id bigint REFERENCES client,
    ADD COLUMN created_by text,
    DROP CONSTRAINT api_key_role_check,
    ADD CONSTRAINT api_key_role_check CHECK (role IN ('operator', 'client')),
    ADD CONSTRAINT api_key_client_check CHECK ((role = 'client') = (client_id IS NOT NULL)),
    ADD CONSTRAINT api_key_scopes_check
        CHECK (scopes <@ ARRAY['read', 'operate', 'finance', 'admin'] AND scopes <> '{}'
               AND (role = 'operator' OR scopes = '{read}'));
ALTER TABLE api_key ALTER COLUMN scopes SET DEFAULT '{read}';

-- Who did what. Append-only, for everybody.
CREATE TABLE audit_entry (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL,
    actor          text NOT NULL,                         -- "person 7", "key demo", "system", "command line"
    person_id      bigint,                                -- the actor, where it is a person
    client_id      bigint,                                -- whom it concerns; null: the operator
    action         text NOT NULL,                         -- "logged in", "badge blocked", "POST /stations"
    subject        text NOT NULL DEFAULT '',
    detail         jsonb NOT NULL DEFAULT '{}',           -- no names, no addresses, no secrets
    remote_address text
);
CREATE INDEX audit_entry_at ON audit_entry (at, id);
CREATE INDEX audit_entry_client ON audit_entry (client_id, at);
CREATE INDEX audit_entry_person ON audit_entry (person_id, at);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- --- Drivers ------------------------------------------------------------------------------------

-- A person who charges: to whom what she owes is invoiced.
CREATE TABLE driver (
    person_id    bigint PRIMARY KEY REFERENCES person,
    billing_name text NOT NULL DEFAULT '',                -- '' as the person's name
    company      text,
    siren        text CHECK (siren ~ '^\d{9}$'),
    vat_number   text,
    street       text NOT NULL DEFAULT '',
    postal_code  text NOT NULL DEFAULT '',
    city         text NOT NULL DEFAULT '',
    country      text NOT NULL DEFAULT 'FR' CHECK (country ~ '^[A-Z]{2}$'),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    closed_at    timestamptz
);

-- Means of payment by date: references only, at whoever keeps the means itself.
CREATE TABLE payment_means (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id  bigint NOT NULL REFERENCES driver,
    kind       text NOT NULL CHECK (kind IN ('sepa_mandate', 'wallet', 'provider', 'employer')),
    reference  text NOT NULL CHECK (reference <> ''),     -- mandate's or provider's, never a number
    label      text NOT NULL DEFAULT '',
    from_at    timestamptz NOT NULL DEFAULT now(),
    to_at      timestamptz,
    CHECK (to_at > from_at),
    EXCLUDE USING gist (int8range(person_id, person_id, '[]') WITH &&, tstzrange(from_at, to_at) WITH &&)
);

-- Residents, visitors, staff of a client: who belongs to them when, and where they may charge when.
CREATE TABLE driver_group (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id        bigint NOT NULL REFERENCES client,
    name             text NOT NULL CHECK (name <> ''),
    kind             text NOT NULL CHECK (kind IN ('residents', 'visitors', 'staff')),
    reservations_max smallint NOT NULL DEFAULT 1 CHECK (reservations_max >= 0),  -- open at once
    reservation_minutes_max integer NOT NULL DEFAULT 120 CHECK (reservation_minutes_max >= 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    retired_at       timestamptz
);
CREATE UNIQUE INDEX driver_group_name ON driver_group (client_id, lower(name)) WHERE retired_at IS NULL;

CREATE TABLE group_member (
    group_id  bigint NOT NULL REFERENCES driver_group,
    person_id bigint NOT NULL REFERENCES driver,
    from_at   timestamptz NOT NULL DEFAULT now(),
    to_at     timestamptz,
    CHECK (to_at > from_at),
    PRIMARY KEY (group_id, person_id, from_at),
    EXCLUDE USING gist (int8range(group_id, group_id, '[]') WITH &&,
                        int8range(person_id, person_id, '[]') WITH &&, tstzrange(from_at, to_at) WITH &&)
);
CREATE INDEX group_member_person ON group_member (person_id);

-- Minutes are those of the site's own clock; one that ends at or before its begin ends the next day.
CREATE TABLE group_access (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id    bigint NOT NULL REFERENCES driver_group,
    client_id   bigint NOT NULL REFERENCES client,
    site_id     text NOT NULL,
    weekdays    smallint NOT NULL DEFAULT 127 CHECK (weekdays BETWEEN 1 AND 127),  -- 1 Monday ... 64 Sunday
    from_minute smallint NOT NULL DEFAULT 0 CHECK (from_minute BETWEEN 0 AND 1439),
    to_minute   smallint NOT NULL DEFAULT 1440 CHECK (to_minute BETWEEN 1 AND 1440),
    created_at  timestamptz NOT NULL DEFAULT now(),
    retired_at  timestamptz,
    FOREIGN KEY (client_id, site_id) REFERENCES site (client_id, id) ON UPDATE CASCADE
);
CREATE INDEX group_access_group ON group_access (group_id) WHERE retired_at IS NULL;
CREATE INDEX group_access_site ON group_access (site_id) WHERE retired_at IS NULL;

-- Whose badge it is when: a session belongs to whoever had its badge when it began.
ALTER TABLE token
    ADD COLUMN token_key bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    ADD COLUMN blocked_why text CHECK (blocked_why IN ('lost', 'stolen', 'unpaid', 'closed', 'asked', 'operator'));
CREATE TABLE driver_badge (
    token_key bigint NOT NULL REFERENCES token (token_key),
    uid_key   text NOT NULL REFERENCES token,
    person_id bigint NOT NULL REFERENCES driver,
    label     text NOT NULL DEFAULT '',                   -- as its driver calls it
    from_at   timestamptz NOT NULL DEFAULT now(),
    to_at     timestamptz,
    CHECK (to_at > from_at),
    PRIMARY KEY (token_key, from_at),
    EXCLUDE USING gist (int8range(token_key, token_key, '[]') WITH &&, tstzrange(from_at, to_at) WITH &&)
);
CREATE INDEX driver_badge_person ON driver_badge (person_id);
CREATE INDEX driver_badge_uid ON driver_badge (uid_key, from_at);

CREATE TABLE badge_order (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id    bigint NOT NULL REFERENCES driver,
    ordered_at   timestamptz NOT NULL,
    ordered_by   text NOT NULL,
    sent_at      timestamptz,
    uid_key      text REFERENCES token,                   -- null: not activated yet
    activated_at timestamptz,
    cancelled_at timestamptz,
    CHECK ((uid_key IS NULL) = (activated_at IS NULL))
);
CREATE INDEX badge_order_person ON badge_order (person_id);

-- --- What the database lets people see ----------------------------------------------------------

-- For whom this transaction works; null: for nobody.
CREATE FUNCTION acting_person() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('t2p.person_id', true), '')::bigint $$;
-- The client that a machine's key works for; null: none.
CREATE FUNCTION acting_client() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('t2p.client_id', true), '')::bigint $$;

-- The clients that the acting person manages now, or the key's own. Its reading of client_manager
-- goes by the owner's rights, so that no policy needs another to be judged.
CREATE FUNCTION managed_clients() RETURNS bigint[] LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$ SELECT array(SELECT client_id FROM client_manager
                        WHERE person_id = acting_person() AND from_at <= now()
                          AND (to_at IS NULL OR to_at > now())
                        UNION SELECT acting_client() WHERE acting_client() IS NOT NULL) $$;

-- Drivers that belong, or belonged, to a group of those clients.
CREATE FUNCTION managed_drivers() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$ SELECT DISTINCT m.person_id FROM group_member m JOIN driver_group g ON g.id = m.group_id
           WHERE g.client_id = ANY (managed_clients()) $$;

-- Groups of the acting person, those that she left too.
CREATE FUNCTION my_groups() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$ SELECT group_id FROM group_member WHERE person_id = acting_person() $$;

-- Every table but the three large ones and the bookkeeping's is under row-level security, and lets
-- the machines' role through. The large ones can become hypertables, which take none: nobody but
-- that role is granted anything on them.
CREATE FUNCTION secure_tables() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND NOT c.relispartition AND NOT c.relrowsecurity
           AND c.relname NOT IN ('meter_reading', 'evse_status', 'ocpp_message')
           AND c.relname !~ '^schema_' AND c.relname !~ '_rollup$'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY service ON %I TO t2p_service USING (true) WITH CHECK (true)', name);
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION secure_tables() FROM PUBLIC;
SELECT secure_tables();

-- Managers read what is their clients'.
CREATE POLICY managed ON client FOR SELECT TO t2p_app
    USING (id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON site FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON station FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON session FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON power_limit FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON driver_group FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON group_access FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON audit_entry FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
CREATE POLICY managed ON client_manager FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
-- What leads to a client through its station: the station's own policy decides.
CREATE POLICY managed ON evse FOR SELECT TO t2p_app
    USING (station_key IN (SELECT station_key FROM station));
CREATE POLICY managed ON connector FOR SELECT TO t2p_app
    USING (station_key IN (SELECT station_key FROM station));
CREATE POLICY managed ON station_connection FOR SELECT TO t2p_app
    USING (station_key IN (SELECT station_key FROM station));
CREATE POLICY managed ON group_member FOR SELECT TO t2p_app
    USING (group_id IN (SELECT id FROM driver_group));
-- A badge: of the client itself, or of a driver of hers.
CREATE POLICY managed ON token FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           OR uid_key IN (SELECT uid_key FROM driver_badge
                           WHERE to_at IS NULL OR to_at > now()));
CREATE POLICY managed ON driver_badge FOR SELECT TO t2p_app
    USING (person_id IN (SELECT managed_drivers()));
CREATE POLICY managed ON driver FOR SELECT TO t2p_app
    USING (person_id IN (SELECT managed_drivers()));
CREATE POLICY managed ON person FOR SELECT TO t2p_app
    USING (id IN (SELECT managed_drivers()));

-- Drivers read what is their own.
CREATE POLICY own ON person FOR SELECT TO t2p_app USING (id = (SELECT acting_person()));
CREATE POLICY own ON driver FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON driver_group FOR SELECT TO t2p_app USING (id IN (SELECT my_groups()));
CREATE POLICY own ON group_access FOR SELECT TO t2p_app USING (group_id IN (SELECT my_groups()));
CREATE POLICY own ON payment_means FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON group_member FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON driver_badge FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON badge_order FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON client_manager FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON login_session FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON audit_entry FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));

GRANT SELECT ON client, site, evse, connector, station_connection, session, power_limit, token,
    driver_group, group_access, group_member, driver_badge, driver, payment_means, badge_order,
    client_manager, audit_entry TO t2p_app;
-- Not the hashes of passwords, not the second factors.
GRANT SELECT (station_key, id, client_id, site_id, protocol, security_profile, boot_status,
              auto_configure, public, ping_interval_s, compression, vendor, model, serial,
              reported_serial, firmware, status, status_at, booted_at, static, created_at, updated_at,
              retired_at) ON station TO t2p_app;
GRANT SELECT (id, email, given_name, family_name, phone, language, operator_roles, email_verified_at,
              totp_confirmed_at, created_at, updated_at, blocked_at, closed_at, erased_at)
    ON person TO t2p_app;
GRANT SELECT (id, person_id, kind, secret_expires_at, created_at, last_used_at, ended_at, ended_why,
              remote_address, user_agent, second_factor_at) ON login_session TO t2p_app;

GRANT SELECT, INSERT, UPDATE ON person, client_manager, login_session, one_time_link, driver,
    payment_means, driver_group, group_member, group_access, driver_badge, badge_order TO t2p_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON login_failure, trusted_device TO t2p_service;
GRANT SELECT, INSERT ON audit_entry TO t2p_service;
