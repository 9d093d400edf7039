-- Lists of sessions stay quick with a million of them.
--
-- By client: what managers read, row-level security asks for the client of every row. By site: the
-- list that everybody asks for. ended_at goes with the keys, so that what touches an interval is
-- found and counted in the index alone. Updates of a session that stay within its page stay so:
-- ended_at was in an index before, the other columns do not change.
DROP INDEX session_started;
CREATE INDEX session_started ON session (started_at, id) INCLUDE (ended_at);
CREATE INDEX session_client ON session (client_id, started_at, id) INCLUDE (ended_at);
CREATE INDEX session_site ON session (site_id, started_at, id) INCLUDE (ended_at, client_id);
-- Few sessions have flags.
CREATE INDEX session_flags ON session USING gin (flags) WHERE flags <> '{}';

-- What hangs on a station shows where the station shows: those of a client are found at once.
CREATE INDEX station_client ON station (client_id);
