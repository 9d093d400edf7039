-- Whom a manager manages is found out once for a statement, not again for each group that there is.
CREATE OR REPLACE FUNCTION managed_drivers() RETURNS SETOF bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$ SELECT DISTINCT m.person_id FROM group_member m JOIN driver_group g ON g.id = m.group_id
           WHERE g.client_id = ANY ((SELECT managed_clients())::bigint[]) $$;
