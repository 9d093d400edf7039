-- Personal data: consents, requests, the restricted archive, and the little that may be done to
-- evidence once its time is over. Periods and purposes: csms/data/processing.toml.

CREATE TABLE consent (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id    bigint NOT NULL REFERENCES person,
    purpose      text NOT NULL CHECK (purpose IN ('prospecting')),
    text_version text NOT NULL CHECK (text_version <> ''),  -- of what she was told, see the register
    how          text NOT NULL CHECK (how <> ''),           -- "page", "api", "letter", ...
    given_at     timestamptz NOT NULL,
    withdrawn_at timestamptz CHECK (withdrawn_at >= given_at)
);
CREATE UNIQUE INDEX consent_open ON consent (person_id, purpose) WHERE withdrawn_at IS NULL;
CREATE INDEX consent_withdrawn ON consent (withdrawn_at) WHERE withdrawn_at IS NOT NULL;

-- States and what leads from one to the next: csms/domain/data_request.py. Days are of Europe/Paris.
CREATE TABLE data_request (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id       bigint REFERENCES person,             -- null: somebody who has no account
    kind            text NOT NULL CHECK (kind IN ('access', 'rectification', 'erasure', 'restriction',
                                                  'objection', 'portability', 'closing')),
    state           text NOT NULL DEFAULT 'received'
                    CHECK (state IN ('received', 'working', 'done', 'refused', 'withdrawn')),
    received_at     timestamptz NOT NULL,
    received_by     text NOT NULL,                        -- "person 7", "key demo"
    requester       text NOT NULL DEFAULT '',             -- as a letter names him
    message         text NOT NULL DEFAULT '',
    due_on          date NOT NULL,                        -- last day for the answer
    close_on        date,                                 -- last day to close the account
    extended_at     timestamptz,                          -- told to the person with its reason
    extension_reason text,
    closed_at       timestamptz,                          -- the account was
    finished_at     timestamptz,
    finished_by     text,
    outcome         text NOT NULL DEFAULT '',             -- as told: what was done, why it was refused
    kept_until      date,                                 -- what the law keeps longer; null: nothing
    CHECK ((state IN ('received', 'working')) = (finished_at IS NULL)),
    CHECK ((extended_at IS NULL) = (extension_reason IS NULL)),
    CHECK ((close_on IS NOT NULL) = (kind IN ('erasure', 'closing'))),
    CHECK (kind <> 'closing' OR person_id IS NOT NULL)
);
CREATE INDEX data_request_person ON data_request (person_id, id);
CREATE INDEX data_request_open ON data_request (due_on) WHERE finished_at IS NULL;
CREATE UNIQUE INDEX data_request_once ON data_request (person_id, kind) WHERE finished_at IS NULL;

-- What the nightly job did, rule by rule.
CREATE TABLE retention_run (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    rule       text NOT NULL,
    rows       bigint NOT NULL CHECK (rows >= 0),
    detail     text NOT NULL DEFAULT '',
    failed     boolean NOT NULL DEFAULT false
);
CREATE INDEX retention_run_at ON retention_run (at, id);

-- The restricted archive: to whom what an erased person charged was invoiced. The books need it for
-- ten years (Code de commerce L.123-22); nobody else does. The machines' role can put in and not
-- look: it reads through open_archive alone, which writes down who asked and why.
CREATE TABLE archived_person (
    person_id   bigint PRIMARY KEY REFERENCES person,
    identity    jsonb NOT NULL,                           -- name, billing identity, means of payment
    archived_at timestamptz NOT NULL,
    kept_until  date NOT NULL                             -- the last day
);
CREATE INDEX archived_person_until ON archived_person (kept_until);

SELECT secure_tables();
CREATE POLICY own ON consent FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
CREATE POLICY own ON data_request FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
GRANT SELECT ON consent, data_request TO t2p_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON consent, data_request TO t2p_service;
GRANT SELECT, INSERT ON retention_run TO t2p_service;
GRANT INSERT ON archived_person TO t2p_service;
GRANT DELETE ON client_contact, point_watch TO t2p_service;
GRANT SELECT (refreshed_at) ON login_session TO t2p_app;

-- Opens the archive of a person, or of whoever had a badge; each look is one entry of the audit.
CREATE FUNCTION open_archive(reader text, reader_person bigint, reason text, address text,
                             person bigint, badge text)
    RETURNS SETOF archived_person
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF reader IS NULL OR length(btrim(coalesce(reason, ''))) < 10 THEN
        RAISE EXCEPTION 'the archive opens to a named reader with a reason'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO audit_entry (at, actor, person_id, action, subject, detail, remote_address)
        VALUES (clock_timestamp(), reader, reader_person, 'archive opened',
                coalesce('person ' || person, 'badge'),
                jsonb_build_object('reason', reason), address);
    RETURN QUERY
        SELECT a.* FROM archived_person a
         WHERE (person IS NULL OR a.person_id = person)
           AND (badge IS NULL OR EXISTS (SELECT FROM driver_badge b
                                          WHERE b.person_id = a.person_id AND b.uid_key = lower(badge)))
           AND num_nonnulls(person, badge) > 0
         ORDER BY a.person_id LIMIT 100;
END $$;

-- Empties the archive of those whose last day is past, and with it what leads from a badge to them.
CREATE FUNCTION empty_archive(today date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    gone bigint[];
BEGIN
    SELECT coalesce(array_agg(person_id), '{}') INTO gone
      FROM archived_person WHERE kept_until < least(today, current_date);
    DELETE FROM driver_badge WHERE person_id = ANY (gone);
    DELETE FROM badge_order WHERE person_id = ANY (gone);
    DELETE FROM archived_person WHERE person_id = ANY (gone);
    RETURN cardinality(gone);
END $$;

-- The audit stays as it was written, but for one thing: where an act of more than six months ago
-- came from is forgotten. Its owner can do no more than that either.
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.at < now() - interval '6 months' AND NEW.remote_address IS NULL
       AND to_jsonb(NEW) - 'remote_address' = to_jsonb(OLD) - 'remote_address' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER audit_entry_append_only ON audit_entry;
CREATE TRIGGER audit_entry_append_only BEFORE DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_entry_unchanged BEFORE UPDATE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE INDEX audit_entry_address ON audit_entry (at) WHERE remote_address IS NOT NULL;

CREATE FUNCTION forget_audit_addresses(before timestamptz, rows_max integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    touched bigint;
BEGIN
    UPDATE audit_entry SET remote_address = NULL
     WHERE id IN (SELECT id FROM audit_entry
                   WHERE remote_address IS NOT NULL AND at < least(before, now() - interval '6 months')
                   ORDER BY at LIMIT rows_max);
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
END $$;

-- Sessions that ended in a stretch of more than ten years ago lose their badges: each badge becomes
-- an alias by chance, the same wherever it stood in the stretch, and nothing says which was which.
-- The frames that proved the sessions go, that there was proof stays. Times, places and energy are
-- not touched. A session that is done has its own id as start_key. Never anything younger, whoever
-- asks.
CREATE FUNCTION pseudonymise_sessions(from_at timestamptz, to_at timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    touched bigint;
BEGIN
    IF to_at IS NULL OR to_at > now() - interval '10 years' THEN
        RAISE EXCEPTION 'the books need these sessions' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE session_event e SET frame = NULL, note = NULL
      FROM session s
     WHERE s.id = e.session_id AND s.ended_at >= from_at AND s.ended_at < to_at
       AND (e.frame IS NOT NULL OR e.note IS NOT NULL);
    WITH alias AS MATERIALIZED (
        SELECT uid, 'X' || upper(left(replace(gen_random_uuid()::text, '-', ''), 12)) AS name
          FROM (SELECT DISTINCT lower(v.uid) AS uid
                  FROM session s, LATERAL (VALUES (s.token_uid), (s.stop_token_uid)) v (uid)
                 WHERE s.ended_at >= from_at AND s.ended_at < to_at AND v.uid IS NOT NULL
                   AND s.start_key <> 'past|' || s.id) d)
    UPDATE session s
       SET token_uid = (SELECT name FROM alias WHERE uid = lower(s.token_uid)),
           stop_token_uid = (SELECT name FROM alias WHERE uid = lower(s.stop_token_uid)),
           start_key = 'past|' || s.id
     WHERE s.ended_at >= from_at AND s.ended_at < to_at AND s.start_key <> 'past|' || s.id;
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
END $$;

-- The history of places is never rewritten either; after ten years it is over.
CREATE FUNCTION refuse_young_loss() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.at < now() - interval '10 years' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER static_change_append_only ON static_change;
CREATE TRIGGER static_change_append_only BEFORE UPDATE OR TRUNCATE ON static_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER static_change_kept BEFORE DELETE ON static_change
    FOR EACH ROW EXECUTE FUNCTION refuse_young_loss();
CREATE FUNCTION forget_static_changes(moment timestamptz, rows_max integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    touched bigint;
BEGIN
    DELETE FROM static_change
     WHERE id IN (SELECT id FROM static_change
                   WHERE at < least(moment, now() - interval '10 years') LIMIT rows_max);
    GET DIAGNOSTICS touched = ROW_COUNT;
    RETURN touched;
END $$;

REVOKE EXECUTE ON FUNCTION open_archive(text, bigint, text, text, bigint, text), empty_archive(date),
    forget_audit_addresses(timestamptz, integer), pseudonymise_sessions(timestamptz, timestamptz),
    forget_static_changes(timestamptz, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION open_archive(text, bigint, text, text, bigint, text), empty_archive(date),
    forget_audit_addresses(timestamptz, integer), pseudonymise_sessions(timestamptz, timestamptz),
    forget_static_changes(timestamptz, integer)
    TO t2p_service;
