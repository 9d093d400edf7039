-- Views of csms; rebuilt after every migration.

-- Every sampled value as a row: raw value and unit as reported, and energy in Wh where it is one.
CREATE VIEW meter_value WITH (security_invoker = true) AS
SELECT r.station_key, s.id AS station_id, r.session_id, r.evse_id, r.connector_id,
       r.at, r.stated_at, r.received_at, v.ordinality AS position,
       p.measurands[v.ordinality] AS measurand,
       nullif(p.phases[v.ordinality], '') AS phase,
       nullif(p.units[v.ordinality], '') AS unit,
       nullif(p.contexts[v.ordinality], '') AS context,
       nullif(p.locations[v.ordinality], '') AS location,
       CASE WHEN v.value = 'NaN' THEN NULL ELSE v.value END AS value,
       (r.texts::json) ->> (v.ordinality - 1)::text AS text
  FROM meter_reading r
  JOIN meter_profile p ON p.id = r.profile_id
  JOIN station s USING (station_key)
 CROSS JOIN LATERAL unnest(r.samples) WITH ORDINALITY AS v (value, ordinality);

GRANT SELECT ON meter_value TO t2p_service;

-- What the acting person charged: the sessions of her badges while they were hers. An owner's view:
-- people may read no session by its table but those of clients that they manage.
CREATE VIEW my_session WITH (security_barrier = true) AS
SELECT s.*, b.person_id, p.code AS point_id, site.name AS site_name
  FROM driver_badge b
  JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
       AND (b.to_at IS NULL OR s.started_at < b.to_at)
  LEFT JOIN point p ON p.station_key = s.station_key AND p.evse_id = s.evse_id
  LEFT JOIN site ON site.id = s.site_id
 WHERE b.person_id = acting_person();

-- Readings of those sessions; the table itself is closed to people. Written out: what the view above
-- lets its invoker read, it would let people read here, and that is nothing.
CREATE VIEW my_meter_value WITH (security_barrier = true) AS
SELECT r.station_key, r.session_id, r.evse_id, r.connector_id,
       r.at, r.stated_at, r.received_at, v.ordinality AS position,
       p.measurands[v.ordinality] AS measurand,
       nullif(p.phases[v.ordinality], '') AS phase,
       nullif(p.units[v.ordinality], '') AS unit,
       nullif(p.contexts[v.ordinality], '') AS context,
       nullif(p.locations[v.ordinality], '') AS location,
       CASE WHEN v.value = 'NaN' THEN NULL ELSE v.value END AS value, r.digest
  FROM my_session s
  JOIN meter_reading r ON r.session_id = s.id AND r.station_key = s.station_key
  JOIN meter_profile p ON p.id = r.profile_id
 CROSS JOIN LATERAL unnest(r.samples) WITH ORDINALITY AS v (value, ordinality);

-- When no driver may start at a client's stations, and why: a suspension in force, or a contract
-- that has ended and none that follows. A client without any signed contract is never closed.
CREATE VIEW client_closure WITH (security_invoker = true) AS
SELECT s.client_id, s.from_on::timestamp AT TIME ZONE 'Europe/Paris' AS from_at,
       least(s.until_on, c.ends_on + 1)::timestamp AT TIME ZONE 'Europe/Paris' AS to_at,
       'suspended' AS reason
  FROM contract_suspension s JOIN contract c ON c.id = s.contract_id
 WHERE least(s.until_on, c.ends_on + 1) > s.from_on IS NOT FALSE AND c.signed_on IS NOT NULL
UNION ALL
SELECT c.client_id, (c.ends_on + 1)::timestamp AT TIME ZONE 'Europe/Paris',
       (SELECT min(n.starts_on) FROM contract n
         WHERE n.client_id = c.client_id AND n.signed_on IS NOT NULL
           AND n.starts_on > c.ends_on)::timestamp AT TIME ZONE 'Europe/Paris', 'ended'
  FROM contract c
 WHERE c.ends_on IS NOT NULL AND c.signed_on IS NOT NULL;

GRANT SELECT ON client_closure TO t2p_app, t2p_service;

-- Where the groups of its driver let a badge charge, and when: the window by the site's own clock,
-- since when and until when it counts. What is over stands there too.
CREATE VIEW badge_access WITH (security_invoker = true) AS
SELECT b.token_key, b.uid_key, b.person_id, a.group_id, a.site_id,
       a.weekdays, a.from_minute, a.to_minute,
       a.weekdays = 127 AND (a.to_minute - a.from_minute) % 1440 = 0 AS is_always,
       greatest(b.from_at, m.from_at) AS from_at,
       least(b.to_at, m.to_at, a.retired_at, g.retired_at) AS to_at
  FROM driver_badge b
  JOIN group_member m ON m.person_id = b.person_id
  JOIN driver_group g ON g.id = m.group_id
  JOIN group_access a ON a.group_id = g.id
 WHERE coalesce(b.to_at > m.from_at, true) AND coalesce(m.to_at > b.from_at, true);

GRANT SELECT ON badge_access TO t2p_service;
-- Points where the acting driver may charge, by a group of hers (at whatever hours) or as anybody
-- may, and how they stand. Owner's too: what it tells of others is that a point is taken, and until
-- when. Nobody who is not asked for it pays for a column: each is a question of its own.
CREATE VIEW my_point WITH (security_barrier = true) AS
SELECT p.code, p.station_key, p.evse_id, s.id AS station_id, s.client_id, s.site_id,
       coalesce(site.name, '') AS site_name,
       coalesce(site.time_zone, 'Europe/Paris') AS time_zone, site.static AS site_static,
       degrees_in(site.static -> 'latitude', 90) AS latitude,
       degrees_in(site.static -> 'longitude', 180) AS longitude,
       e.static AS evse_static, e.evse_uid, e.power_w_max, e.status, e.status_at,
       coalesce(e.public, s.public) AS public,
       s.site_id IS NOT NULL AND s.site_id IN (
           SELECT a.site_id FROM group_member m
             JOIN driver_group g ON g.id = m.group_id AND g.retired_at IS NULL
             JOIN group_access a ON a.group_id = g.id AND a.retired_at IS NULL
            WHERE m.person_id = acting_person() AND (m.to_at IS NULL OR m.to_at > now())
       ) AS member,
       c.station_key IS NOT NULL AND c.disconnected_at IS NULL AS connected, c.disconnected_at,
       (SELECT json_agg(json_build_object('connector_id', k.connector_id, 'type', k.type,
                                          'power_w_max', k.power_w_max, 'status', k.status)
                        ORDER BY k.connector_id)
          FROM connector k WHERE k.station_key = p.station_key AND k.evse_id = p.evse_id
       ) AS connectors,
       (SELECT min(x.started_at) FROM session x
         WHERE x.station_key = p.station_key AND x.evse_id = p.evse_id AND x.state = 'active'
           AND x.authorization_status <> 'none') AS occupied_since,
       (SELECT max(x.id) FROM session x JOIN driver_badge b ON b.uid_key = lower(x.token_uid)
         WHERE x.station_key = p.station_key AND x.evse_id = p.evse_id AND x.state = 'active'
           AND b.person_id = acting_person() AND x.started_at >= b.from_at
           AND (b.to_at IS NULL OR x.started_at < b.to_at)) AS my_session_id,
       (SELECT json_agg(json_build_object('from_at', r.from_at, 'to_at', r.to_at,
                                          'id', CASE WHEN r.person_id = acting_person() THEN r.id END)
                        ORDER BY r.from_at)
          FROM reservation r
         WHERE r.station_key = p.station_key AND (r.evse_id IS NULL OR r.evse_id = p.evse_id)
           AND r.state IN ('requested', 'placed', 'confirmed')) AS reservations
  FROM point p
  JOIN station s USING (station_key)
  JOIN evse e USING (station_key, evse_id)
  LEFT JOIN site ON site.id = s.site_id
  LEFT JOIN station_connection c USING (station_key)
 WHERE s.retired_at IS NULL
   AND EXISTS (SELECT FROM driver d WHERE d.person_id = acting_person() AND d.closed_at IS NULL)
   AND (coalesce(e.public, s.public) OR s.site_id IN (
           SELECT a.site_id FROM group_member m
             JOIN driver_group g ON g.id = m.group_id AND g.retired_at IS NULL
             JOIN group_access a ON a.group_id = g.id AND a.retired_at IS NULL
            WHERE m.person_id = acting_person() AND (m.to_at IS NULL OR m.to_at > now())));

-- What the acting driver asked to begin, and what came of it: the order's answer, and the session.
-- One that a car was plugged in for before the start may be older than it.
CREATE VIEW my_start WITH (security_barrier = true) AS
SELECT a.id, a.person_id, p.code AS point_id, a.idempotency_key, a.created_at, a.due_at,
       q.status AS order_status, q.sent_at, q.error AS order_error, x.id AS session_id,
       x.authorization_status
  FROM session_start a
  JOIN point p USING (station_key, evse_id)
  LEFT JOIN command q ON q.id = a.command_id
  LEFT JOIN LATERAL (
       SELECT s.id, s.authorization_status FROM session s
        WHERE s.station_key = a.station_key AND s.evse_id = a.evse_id
          AND lower(s.token_uid) = a.uid_key
          AND (s.remote_start_id IS NULL OR s.remote_start_id = a.remote_start_id)
          AND (s.received_start_at >= a.created_at
               OR (s.state = 'active' AND a.due_at > now()))
        ORDER BY s.id LIMIT 1) x ON true
 WHERE a.person_id = acting_person();

GRANT SELECT ON my_session, my_meter_value, my_point, my_start TO t2p_app, t2p_service;

-- What the acting person is given when she asks for her own: her sessions with the names of places,
-- and her groups with theirs.
CREATE VIEW my_charging WITH (security_barrier = true) AS
SELECT s.person_id, s.id, t.id AS station_id, s.evse_id, s.connector_id, s.site_id, s.transaction_id,
       s.token_uid, s.state, s.started_at, s.ended_at, s.meter_start_wh, s.meter_stop_wh, s.energy_wh,
       s.stop_reason, s.flags
  FROM my_session s JOIN station t USING (station_key);
CREATE VIEW my_group WITH (security_barrier = true) AS
SELECT m.group_id, m.person_id, g.name, g.kind, m.from_at, m.to_at
  FROM group_member m JOIN driver_group g ON g.id = m.group_id
 WHERE m.person_id = acting_person();

CREATE VIEW my_notification WITH (security_barrier = true) AS
SELECT d.id, d.person_id, n.event, n.at, n.subject, d.channel, d.status, d.reason, d.created_at,
       d.finished_at, d.address_masked
  FROM notification_delivery d JOIN notification n ON n.id = d.notification_id
 WHERE d.person_id = acting_person();

GRANT SELECT ON my_charging, my_group, my_notification TO t2p_app, t2p_service;
