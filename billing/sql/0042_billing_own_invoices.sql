-- The operator's own invoices, to clients and to co-owners: they block nobody, and what a co-owner
-- contests of his is between him and the operator.

CREATE OR REPLACE FUNCTION check_payment_block_cause() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM invoice WHERE id = NEW.invoice_id AND issuer = 'client') THEN
        RAISE EXCEPTION 'invoice % is the operator''s own, which blocks nobody', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NOT EXISTS (
        SELECT FROM reminder r JOIN payment_block b ON b.id = NEW.block_id
         WHERE r.id = NEW.notice_id AND r.invoice_id = NEW.invoice_id AND r.person_id = b.person_id
           AND r.takes_effect_on <= (NEW.added_at AT TIME ZONE 'Europe/Paris')::date) THEN
        RAISE EXCEPTION 'invoice % may not block yet: its notice has not taken effect', NEW.invoice_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- A dispute is read by whoever reads the invoice that it is about; of a line, by the client's managers.
DROP POLICY managed ON dispute;
CREATE POLICY managed ON dispute FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[])
           AND (invoice_id IS NULL OR invoice_id IN (SELECT id FROM invoice)));
