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
SELECT s.*, b.person_id
  FROM driver_badge b
  JOIN session s ON lower(s.token_uid) = b.uid_key AND s.started_at >= b.from_at
       AND (b.to_at IS NULL OR s.started_at < b.to_at)
 WHERE b.person_id = acting_person();

-- Readings of those sessions; the table itself is closed to people.
CREATE VIEW my_meter_value WITH (security_barrier = true) AS
SELECT v.* FROM my_session s JOIN meter_value v ON v.session_id = s.id AND v.station_key = s.station_key;

GRANT SELECT ON my_session, my_meter_value TO t2p_app, t2p_service;

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

GRANT SELECT ON my_charging, my_group TO t2p_app, t2p_service;
