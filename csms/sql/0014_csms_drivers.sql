-- Rights of drivers: what changes of them does to their badges, and what managers see of them.

ALTER TABLE token
    DROP CONSTRAINT token_blocked_why_check,
    ADD CONSTRAINT token_blocked_why_check CHECK (
        blocked_why IN ('lost', 'stolen', 'returned', 'unpaid', 'closed', 'asked', 'operator'));

-- A change of whose a badge is, of groups and of their access changes badges too: lists in stations
-- follow what token_change notes of each. In order of their keys, so that two who change the same
-- ones never wait for each other.
CREATE FUNCTION touch_badges(persons bigint[]) RETURNS void
    LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH touched AS MATERIALIZED (
        SELECT uid_key FROM token
         WHERE token_key IN (SELECT token_key FROM driver_badge
                              WHERE person_id = ANY (persons) AND (to_at IS NULL OR to_at > now()))
         ORDER BY token_key FOR UPDATE)
    UPDATE token SET updated_at = now() FROM touched WHERE token.uid_key = touched.uid_key
$$;
REVOKE EXECUTE ON FUNCTION touch_badges(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION touch_badges(bigint[]) TO t2p_service;

CREATE FUNCTION note_badge_of_driver() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE token SET updated_at = now() WHERE token_key = NEW.token_key;
    RETURN NULL;
END $$;
CREATE TRIGGER driver_badge_change AFTER INSERT OR UPDATE OF from_at, to_at, person_id ON driver_badge
    FOR EACH ROW EXECUTE FUNCTION note_badge_of_driver();

CREATE FUNCTION note_members() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(array(SELECT DISTINCT person_id FROM changed));
    RETURN NULL;
END $$;
CREATE TRIGGER group_member_insert AFTER INSERT ON group_member
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_members();
CREATE TRIGGER group_member_update AFTER UPDATE ON group_member
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_members();

CREATE FUNCTION note_access() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(array(SELECT DISTINCT m.person_id FROM changed c
                                 JOIN group_member m USING (group_id)
                                WHERE m.to_at IS NULL OR m.to_at > now()));
    RETURN NULL;
END $$;
CREATE TRIGGER group_access_insert AFTER INSERT ON group_access
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_access();
CREATE TRIGGER group_access_update AFTER UPDATE ON group_access
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_access();

CREATE FUNCTION note_group() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(array(SELECT person_id FROM group_member
                                WHERE group_id = NEW.id AND (to_at IS NULL OR to_at > now())));
    RETURN NULL;
END $$;
CREATE TRIGGER driver_group_retired AFTER UPDATE OF retired_at ON driver_group
    FOR EACH ROW EXECUTE FUNCTION note_group();

CREATE FUNCTION note_person() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER person_barred AFTER UPDATE OF blocked_at, closed_at ON person
    FOR EACH ROW WHEN (OLD.blocked_at IS DISTINCT FROM NEW.blocked_at
                       OR OLD.closed_at IS DISTINCT FROM NEW.closed_at)
    EXECUTE FUNCTION note_person();

CREATE FUNCTION note_driver() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM touch_badges(ARRAY[NEW.person_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER driver_barred AFTER UPDATE OF closed_at ON driver
    FOR EACH ROW WHEN (OLD.closed_at IS DISTINCT FROM NEW.closed_at) EXECUTE FUNCTION note_driver();

-- What begins or ends by its date changes no row: its moment counts as a change once it is past.
CREATE INDEX driver_badge_from ON driver_badge (from_at);
CREATE INDEX driver_badge_to ON driver_badge (to_at) WHERE to_at IS NOT NULL;
CREATE INDEX group_member_from ON group_member (from_at);
CREATE INDEX group_member_to ON group_member (to_at) WHERE to_at IS NOT NULL;
CREATE INDEX group_access_sites ON group_access (group_id, site_id);

CREATE OR REPLACE FUNCTION tokens_changed_at() RETURNS timestamptz
    LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
DECLARE
    moment timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(8, 1);
    moment := clock_timestamp();  -- badges changed from here on have later times
    RETURN greatest(
        (SELECT max(updated_at) FROM token),
        (SELECT max(from_at) FROM driver_badge WHERE from_at <= moment),
        (SELECT max(to_at) FROM driver_badge WHERE to_at <= moment),
        (SELECT max(from_at) FROM group_member WHERE from_at <= moment),
        (SELECT max(to_at) FROM group_member WHERE to_at <= moment));
END $$;

-- Managers see who their drivers are, not to whom what these owe is invoiced; and their orders.
DROP POLICY managed ON driver;
CREATE POLICY managed ON badge_order FOR SELECT TO t2p_app
    USING (person_id IN (SELECT managed_drivers()));

-- What has yet to begin, or was given in this very moment, can be taken back as if it had never been.
GRANT DELETE ON group_member, driver_badge TO t2p_service;
CREATE TRIGGER group_member_delete AFTER DELETE ON group_member
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_members();
