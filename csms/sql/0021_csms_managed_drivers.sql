-- Drivers that belong to a group of the acting person's clients, or left it less than three months ago:
-- until then what they charged may be contested. Afterwards they are no business of hers any more,
-- their new address and badges least of all. Whom she manages is found out once for a statement, not
-- again for each group that there is.
CREATE OR REPLACE FUNCTION managed_drivers() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$ SELECT DISTINCT m.person_id FROM group_member m JOIN driver_group g ON g.id = m.group_id
           WHERE g.client_id = ANY ((SELECT managed_clients())::bigint[])
             AND (m.to_at IS NULL OR m.to_at > now() - interval '3 months') $$;
