-- Whether the station's client was closed when its cache was last cleared: what it remembers from
-- before a suspension, or from during it, holds no more.
ALTER TABLE local_authorization ADD COLUMN cache_closed boolean NOT NULL DEFAULT false;
