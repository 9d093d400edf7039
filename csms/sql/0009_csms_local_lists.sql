-- Changes of badges that no reader misses, and lists that follow the station, not only its badges.

-- Who changes a badge holds this lock until he commits, together with all others who do. Whoever
-- wants to know up to when all changes are visible waits for them to be through, and so can say that
-- nothing older will appear. The time of change is that of the statement: it is later than any moment
-- that was told before, whenever its transaction began.
CREATE FUNCTION note_token_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8, 1);
    NEW.updated_at := clock_timestamp();
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := NEW.updated_at;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER token_change BEFORE INSERT OR UPDATE ON token
    FOR EACH ROW EXECUTE FUNCTION note_token_change();

-- When a badge was last changed; null: there are none. Every change up to then is visible from now
-- on, and later ones have later times. In a transaction of its own: those who change badges wait
-- for its end. They are not made to wait for long: somebody who changes badges and does not commit
-- makes this fail after two seconds.
CREATE FUNCTION tokens_changed_at() RETURNS timestamptz
    LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(8, 1);
    RETURN (SELECT max(updated_at) FROM token);
END $$;

CREATE INDEX token_group ON token (lower(group_uid)) WHERE group_uid IS NOT NULL;

ALTER TABLE local_authorization
    ADD COLUMN list_site_id text,                      -- whose badges it was held against; null: none
    ADD COLUMN list_master_group_uid text,             -- as the station had it then
    ADD COLUMN list_limits_asked boolean NOT NULL DEFAULT false;  -- how much it takes, of its firmware
UPDATE local_authorization SET list_checked_at = NULL;  -- each is looked at once more
