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

GRANT SELECT ON meter_value TO t2p_app;
