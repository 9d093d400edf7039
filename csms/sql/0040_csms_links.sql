-- When the link of each station came up and went down. station_connection says how it stands now;
-- this is its history, for availability. Rows go by (at, id): each is written after the last one of
-- its station, so that a link that was told late is never up before it went down.
--
-- A link whose node died ends when its station was last heard. One that another node takes over
-- from a node that lives has no gap: there are two rows `up` in a row then.
CREATE TABLE station_link (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_key integer NOT NULL REFERENCES station ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    up          boolean NOT NULL,
    node        text NOT NULL
);
CREATE INDEX station_link_station ON station_link (station_key, at);

-- What is known of the time before: the last connection of each station.
INSERT INTO station_link (station_key, at, up, node)
SELECT station_key, connected_at, true, node FROM station_connection ORDER BY station_key;
INSERT INTO station_link (station_key, at, up, node)
SELECT station_key, greatest(disconnected_at, connected_at + interval '1 microsecond'), false, node
  FROM station_connection WHERE disconnected_at IS NOT NULL ORDER BY station_key;

SELECT secure_tables();
CREATE POLICY managed ON station_link FOR SELECT TO t2p_app
    USING (station_key IN (SELECT station_key FROM station));
-- Append-only, as the history of statuses is: evidence.
GRANT SELECT ON station_link TO t2p_app;
GRANT SELECT, INSERT ON station_link TO t2p_service;
