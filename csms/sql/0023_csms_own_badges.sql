-- The group of a driver's badges that belong to no other: at a station that keeps a point for her
-- app, or charges for it, her card is hers as well. It is no badge's number, so it has no master, and
-- short enough for OCPP 1.6.
CREATE FUNCTION own_badge_group(person_id bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 'DRIVER-' || person_id $$;
