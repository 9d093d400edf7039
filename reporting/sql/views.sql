-- Views of reporting; made anew after every migration.

-- Points that QualiCharge knows, since when without a break: nothing that happened before is told.
CREATE VIEW qualicharge_declared WITH (security_invoker = true) AS
SELECT i.object_key AS evse_uid, min(i.created_at) AS since_at, min(i.id) AS first_item_id
  FROM outlet_item i
 WHERE i.outlet = 'qualicharge.static' AND i.kind = 'declare' AND i.status = 'sent'
   AND NOT EXISTS (SELECT FROM outlet_item w
                    WHERE w.outlet = i.outlet AND w.object_key = i.object_key
                      AND w.kind = 'withdraw' AND w.status IN ('waiting', 'sent') AND w.id > i.id)
 GROUP BY i.object_key;
GRANT SELECT ON qualicharge_declared TO t2p_service;

-- Sessions of partners' drivers: what let them begin, before all what was said of that point. One
-- whose badge was a driver's of ours is hers.
CREATE VIEW roaming_session WITH (security_invoker = true) AS
SELECT s.id AS session_id, g.id AS grant_id, g.partner_id, g.token, g.method, g.reference,
       p.person_id
  FROM session s
 CROSS JOIN LATERAL (
       SELECT * FROM roaming_grant r
        WHERE r.uid_key = lower(s.token_uid) AND r.allowed = 'ALLOWED'
          AND r.at <= coalesce(s.received_start_at, s.started_at)
          AND r.valid_until >= s.started_at
        ORDER BY (r.station_key = s.station_key AND coalesce(r.evse_id = s.evse_id, true)) DESC,
                 (r.station_key = s.station_key) DESC, r.id DESC
        LIMIT 1) g
  JOIN ocpi_partner p ON p.id = g.partner_id
 WHERE s.authorization_status = 'Accepted'
   AND NOT EXISTS (SELECT FROM driver_badge b
                    WHERE b.uid_key = lower(s.token_uid) AND s.started_at >= b.from_at
                      AND (b.to_at IS NULL OR s.started_at < b.to_at));
GRANT SELECT ON roaming_session TO t2p_service;

-- The history of statuses for whoever may read the station: machines and operators all of it, people
-- that of the stations of clients that they manage. An owner's view: the table itself is closed.
CREATE VIEW station_status WITH (security_barrier = true) AS
SELECT h.station_key, h.at, h.received_at, h.evse_id, h.connector_id, h.status
  FROM evse_status h
 WHERE current_user = 't2p_service'
    OR h.station_key IN (SELECT s.station_key FROM station s
                          WHERE s.client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON station_status TO t2p_service, t2p_app;

-- Readings of sessions for whoever may read the session, as above. The table itself is closed. Looked
-- up session by session: OFFSET 0 keeps the planner from reading whole months for a few of them.
CREATE VIEW session_reading WITH (security_barrier = true) AS
SELECT s.id AS session_id, r.at, r.samples, r.profile_id
  FROM session s
 CROSS JOIN LATERAL (
       SELECT at, samples, profile_id FROM meter_reading
        WHERE station_key = s.station_key AND session_id = s.id
          AND stated_at BETWEEN s.readings_from_at AND s.readings_to_at OFFSET 0) r
 WHERE current_user = 't2p_service' OR s.client_id = ANY ((SELECT managed_clients())::bigint[]);

-- What the numbers of such readings are, for whoever may read any.
CREATE VIEW reading_profile WITH (security_barrier = true) AS
SELECT id, measurands, phases, units, contexts, locations FROM meter_profile
 WHERE current_user = 't2p_service' OR cardinality(managed_clients()) > 0;
GRANT SELECT ON session_reading, reading_profile TO t2p_service, t2p_app;
