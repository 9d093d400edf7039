-- Static data of sites, stations and points: what was kept freely gets its members; identifiers
-- are unique; every change is kept.

-- What the static IRVE import kept as columns of the file, one by one: where it belongs now.
CREATE TEMP TABLE irve_column (
    name    text PRIMARY KEY,
    level   text NOT NULL,   -- site, evse; none: it stands in a column of ours already
    member  text,
    pattern text,            -- what the text must look like to be moved
    words   jsonb            -- the schema's words and ours
) ON COMMIT DROP;
INSERT INTO irve_column VALUES
    ('nom_amenageur', 'site', 'owner_name', '.', NULL),
    ('siren_amenageur', 'site', 'owner_siren', '^\d{9}$', NULL),
    ('contact_amenageur', 'site', 'owner_email', '^[^@\s]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$', NULL),
    ('nom_operateur', 'site', 'operator_name', '.', NULL),
    ('contact_operateur', 'site', 'operator_email', '^[^@\s]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}$', NULL),
    ('telephone_operateur', 'site', 'operator_phone', '^\+33[1-9]\d{8}$', NULL),
    ('nom_enseigne', 'site', 'brand_name', '.', NULL),
    ('id_station_itinerance', 'site', 'afirev_station_id',
     '^[A-Z]{2}[A-Z0-9]{3}P[A-Z0-9]{1,29}$', NULL),
    ('id_station_local', 'site', 'local_id', '.', NULL),
    ('implantation_station', 'site', 'implantation', NULL,
     '{"Voirie": "street", "Parking public": "public_parking",
       "Parking privé à usage public": "private_parking_public_use",
       "Parking privé réservé à la clientèle": "customer_parking",
       "Station dédiée à la recharge rapide": "fast_station"}'),
    ('condition_acces', 'site', 'access', NULL,
     '{"Accès libre": "open", "Accès réservé": "reserved"}'),
    ('horaires', 'site', 'opening_hours', '^24/7$', NULL),
    ('station_deux_roues', 'site', 'two_wheelers_only', NULL, '{"true": true, "false": false}'),
    ('raccordement', 'site', 'grid_connection', NULL,
     '{"Direct": "direct", "Indirect": "indirect"}'),
    ('num_pdl', 'site', 'delivery_point', '^\d{14}$', NULL),
    ('date_mise_en_service', 'site', 'commissioned_on', '^(199|20\d)\d-\d\d-\d\d$', NULL),
    ('id_pdc_local', 'evse', 'local_id', '.', NULL),
    ('gratuit', 'evse', 'free', NULL, '{"true": true, "false": false}'),
    ('paiement_acte', 'evse', 'pays_ad_hoc', NULL, '{"true": true, "false": false}'),
    ('paiement_cb', 'evse', 'pays_card', NULL, '{"true": true, "false": false}'),
    ('paiement_autre', 'evse', 'pays_other', NULL, '{"true": true, "false": false}'),
    ('tarification', 'evse', 'tariff_text', '.', NULL),
    ('reservation', 'evse', 'reservation', NULL, '{"true": true, "false": false}'),
    ('accessibilite_pmr', 'evse', 'pmr_access', NULL,
     '{"Réservé PMR": "reserved", "Accessible mais non réservé PMR": "accessible",
       "Non accessible": "not_accessible", "Accessibilité inconnue": "unknown"}'),
    ('restriction_gabarit', 'evse', 'size_limits', '.', NULL),
    ('observations', 'evse', 'observations', '.', NULL),
    ('nom_station', 'none', NULL, NULL, NULL),
    ('adresse_station', 'none', NULL, NULL, NULL),
    ('code_insee_commune', 'none', NULL, NULL, NULL),
    ('coordonneesxy', 'none', NULL, NULL, NULL),
    ('nbre_pdc', 'none', NULL, NULL, NULL),
    ('id_pdc_itinerance', 'none', NULL, NULL, NULL),
    ('puissance_nominale', 'none', NULL, NULL, NULL),
    ('prise_type_ef', 'none', NULL, NULL, NULL),
    ('prise_type_2', 'none', NULL, NULL, NULL),
    ('prise_type_combo_ccs', 'none', NULL, NULL, NULL),
    ('prise_type_chademo', 'none', NULL, NULL, NULL),
    ('prise_type_autre', 'none', NULL, NULL, NULL),
    ('cable_t2_attache', 'none', NULL, NULL, NULL);

CREATE TEMP TABLE irve_cell ON COMMIT DROP AS
SELECT e.station_key, e.evse_id, s.site_id, cell.key AS name, cell.value AS text,
       coalesce(c.level, 'other') AS level, c.member,
       CASE WHEN c.words IS NOT NULL THEN c.words -> coalesce(
                     (SELECT word FROM jsonb_object_keys(c.words) AS w (word)
                       WHERE lower(word) = lower(cell.value)), '')
            WHEN cell.value ~ c.pattern THEN to_jsonb(cell.value)
       END AS value
  FROM evse e JOIN station s USING (station_key)
 CROSS JOIN LATERAL jsonb_each_text(e.static) AS cell
  LEFT JOIN irve_column c ON c.name = cell.key
 WHERE e.static ? 'id_pdc_itinerance' AND cell.value <> '' AND cell.key <> 'local_id';

-- What people sent for sites and stations freely: our members where they are of the right kind,
-- the rest under `other`.
UPDATE site SET static = (
    SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE known), '{}')
        || CASE WHEN bool_and(known) IS NOT FALSE THEN '{}'
                ELSE jsonb_build_object('other', jsonb_object_agg(key, value) FILTER (WHERE NOT known))
           END
      FROM (SELECT key, value,
                   CASE WHEN key IN ('address', 'postal_code', 'city', 'insee_code')
                        THEN jsonb_typeof(value) = 'string' AND value <> '""'
                        ELSE key IN ('longitude', 'latitude') AND jsonb_typeof(value) = 'number'
                   END AS known
              FROM jsonb_each(static)) AS member)
 WHERE static <> '{}';
UPDATE station SET static = (
    SELECT coalesce(jsonb_object_agg(key, value) FILTER (WHERE known), '{}')
        || CASE WHEN bool_and(known) IS NOT FALSE THEN '{}'
                ELSE jsonb_build_object('other', jsonb_object_agg(key, value) FILTER (WHERE NOT known))
           END
      FROM (SELECT key, value,
                   key = 'floor' AND value #>> '{}' ~ '^(-?\d{1,2}|[[:alnum:]]{1,4})$' AS known
              FROM jsonb_each(static)) AS member)
 WHERE static <> '{}';

-- What the import kept with each point and belongs to its site: of the site's first point.
UPDATE site SET static = moved.members || site.static
  FROM (SELECT site_id, jsonb_object_agg(member, value) AS members
          FROM (SELECT DISTINCT ON (site_id, member) site_id, member, value
                  FROM irve_cell
                 WHERE level = 'site' AND value IS NOT NULL AND site_id IS NOT NULL
                 ORDER BY site_id, member, station_key, evse_id) AS first
         GROUP BY site_id) AS moved
 WHERE moved.site_id = site.id;
UPDATE evse SET static = moved.members
        || CASE WHEN evse.static ->> 'local_id' <> coalesce(evse_uid, '')
                THEN jsonb_build_object('local_id', evse.static -> 'local_id') ELSE '{}' END
        || CASE WHEN moved.rest = '{}' THEN '{}'
                ELSE jsonb_build_object('other', jsonb_build_object('irve', moved.rest)) END
  FROM (SELECT station_key, evse_id,
               coalesce(jsonb_object_agg(member, value)
                        FILTER (WHERE level = 'evse' AND value IS NOT NULL), '{}') AS members,
               coalesce(jsonb_object_agg(name, text)
                        FILTER (WHERE level <> 'none' AND (value IS NULL OR site_id IS NULL
                                                           AND level = 'site')), '{}') AS rest
          FROM irve_cell GROUP BY station_key, evse_id) AS moved
 WHERE (evse.station_key, evse.evse_id) = (moved.station_key, moved.evse_id);

-- Identifiers of points in their canonical form, each once among the stations in force. A retired
-- station keeps the identifiers of its points, for its sessions, and stands in nobody's way; where
-- another point has one when it comes back, the other keeps it.
ALTER TABLE evse ADD COLUMN in_force boolean NOT NULL DEFAULT true;
UPDATE evse SET in_force = false
  FROM station s WHERE s.station_key = evse.station_key AND s.retired_at IS NOT NULL;
UPDATE evse SET evse_uid = upper(regexp_replace(evse_uid, '[*[:space:]-]', '', 'g'))
 WHERE evse_uid IS NOT NULL;
WITH bad AS (
    SELECT station_key, evse_id, evse_uid,
           row_number() OVER (PARTITION BY evse_uid, in_force ORDER BY station_key, evse_id) AS turn,
           in_force
      FROM evse WHERE evse_uid IS NOT NULL
)
UPDATE evse
   SET evse_uid = NULL,
       static = jsonb_set(evse.static, '{other}', coalesce(evse.static -> 'other', '{}')
                || jsonb_build_object('former_evse_uid', bad.evse_uid))
  FROM bad
 WHERE (evse.station_key, evse.evse_id) = (bad.station_key, bad.evse_id)
   AND (bad.evse_uid !~ '^[A-Z]{2}[A-Z0-9]{3}E[A-Z0-9]{1,29}$' OR bad.in_force AND bad.turn > 1);
ALTER TABLE evse ADD CONSTRAINT evse_uid_form
    CHECK (evse_uid ~ '^[A-Z]{2}[A-Z0-9]{3}E[A-Z0-9]{1,29}$');
CREATE UNIQUE INDEX evse_uid_once ON evse (evse_uid) WHERE in_force;
CREATE UNIQUE INDEX site_afirev_station_id_once ON site ((static ->> 'afirev_station_id'));

CREATE FUNCTION follow_retirement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE evse e
       SET in_force = NEW.retired_at IS NULL,
           evse_uid = CASE WHEN NEW.retired_at IS NOT NULL
                             OR NOT EXISTS (SELECT FROM evse other WHERE other.in_force
                                               AND other.evse_uid = e.evse_uid)
                           THEN e.evse_uid END
     WHERE e.station_key = NEW.station_key;
    RETURN NULL;
END $$;
CREATE TRIGGER station_retirement AFTER UPDATE OF retired_at ON station FOR EACH ROW
    WHEN (OLD.retired_at IS NULL <> (NEW.retired_at IS NULL))
    EXECUTE FUNCTION follow_retirement();

-- Who changed what of a site, a station or a point. `before` and `after` hold only the members
-- that differ; {} before: it was made, {} after: it was removed. The client is the owner's at the
-- time: whoever takes a site over does not read what another decided.
CREATE TABLE static_change (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    client_id  bigint NOT NULL REFERENCES client,
    actor      text NOT NULL CHECK (actor <> ''),
    kind       text NOT NULL CHECK (kind IN ('site', 'station', 'evse')),
    site_id    text,                                      -- of the station and the point: their site
    station_id text,
    evse_id    integer,
    before     jsonb NOT NULL,
    after      jsonb NOT NULL,
    CHECK ((kind = 'site') = (station_id IS NULL)),
    CHECK ((kind = 'evse') = (evse_id IS NOT NULL)),
    CHECK (kind <> 'site' OR site_id IS NOT NULL)
);
CREATE INDEX static_change_client ON static_change (client_id);
CREATE INDEX static_change_site ON static_change (site_id, at DESC, id DESC);
CREATE INDEX static_change_station ON static_change (station_id, at DESC, id DESC);

CREATE TRIGGER static_change_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON static_change
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

SELECT secure_tables();
CREATE POLICY managed ON static_change FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON static_change TO t2p_app;
GRANT SELECT, INSERT ON static_change TO t2p_service;

-- Managers may know that a station has a password; the hash itself stays closed to them.
ALTER TABLE station ADD COLUMN has_password boolean NOT NULL
    GENERATED ALWAYS AS (password_hash IS NOT NULL) STORED;
GRANT SELECT (has_password, clock_skew_s) ON station TO t2p_app;
