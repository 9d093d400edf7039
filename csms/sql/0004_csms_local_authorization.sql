-- Authorization in the station: how many sessions a badge may have, and what stations keep of badges.

ALTER TABLE token ADD COLUMN concurrent_max smallint CHECK (concurrent_max >= 0);  -- null: setting
CREATE INDEX token_updated ON token (updated_at);
CREATE INDEX token_master ON token (client_id) WHERE uid_key = lower(group_uid);

-- What each station is known to keep: its local list, when its cache was last cleared, and the
-- group whose badges may stop every session (2.0.1). One order at a time for each of the three.
CREATE TABLE local_authorization (
    station_key        integer PRIMARY KEY REFERENCES station ON DELETE CASCADE,
    list_state         text NOT NULL DEFAULT 'unknown'
                       CHECK (list_state IN ('unknown', 'known', 'unsupported')),
    list_version       integer,                           -- that it holds; null: not known
    list_held          jsonb NOT NULL DEFAULT '{}',       -- by uid_key, what that version holds
    list_full          boolean NOT NULL DEFAULT true,     -- the next update replaces all of it
    list_command_id    bigint REFERENCES command,         -- under way; null: none
    list_sending       jsonb,                             -- what it holds then; null: it is asked
    list_sending_version integer,
    list_failures      integer NOT NULL DEFAULT 0,
    list_next_at       timestamptz NOT NULL DEFAULT '-infinity', -- not before
    list_checked_at    timestamptz,                       -- in step with the badges of that moment
    list_boot_at       timestamptz,                       -- its boot when its version was asked
    list_firmware      text,                              -- with which it did not support lists
    cache_cleared_at   timestamptz,
    cache_command_id   bigint REFERENCES command,
    cache_next_at      timestamptz NOT NULL DEFAULT '-infinity',
    master_group_uid   text,                              -- that it was told
    master_command_id  bigint REFERENCES command,
    master_next_at     timestamptz NOT NULL DEFAULT '-infinity'
);

GRANT SELECT, INSERT, UPDATE ON local_authorization TO t2p_app;
