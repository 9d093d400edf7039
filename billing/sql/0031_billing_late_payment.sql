-- Late payment: the legal rate by half year with its decree, and what the operator owes for payouts
-- that reached a professional after their day.

CREATE TABLE legal_rate (
    semester     text PRIMARY KEY CHECK (semester ~ '^20[0-9]{2}-S[12]$'),
    particuliers numeric(5, 2) NOT NULL CHECK (particuliers >= 0),  -- per cent a year
    autres       numeric(5, 2) NOT NULL CHECK (autres >= 0),
    decree       text,                                    -- arrêté, and the Journal officiel
    source       text NOT NULL,                           -- where the figures were read
    verified_at  timestamptz,                             -- null: nothing is reckoned with it
    verified_by  text,
    CHECK (num_nonnulls(verified_at, verified_by) IN (0, 2)),
    CHECK (verified_at IS NULL OR decree IS NOT NULL)
);
INSERT INTO legal_rate VALUES
    ('2023-S1', 4.47, 2.06, NULL, 'notaires de Normandie', NULL, NULL),
    ('2023-S2', 6.82, 4.22, 'arrêté du 27 juin 2023', 'pages juridiques', NULL, NULL),
    ('2024-S1', 8.01, 5.07, NULL, 'un dépôt public', NULL, NULL),
    ('2024-S2', 8.16, 4.92, NULL, 'legifiscal', NULL, NULL),
    ('2025-S1', 7.21, 3.71, NULL, 'legifiscal, ksca', NULL, NULL),
    ('2025-S2', 6.65, 2.76, 'arrêté du 19 juin 2025', 'legifiscal', NULL, NULL),
    ('2026-S1', 6.67, 2.62, 'arrêté du 15 décembre 2025, JO du 26 décembre 2025',
     'texte de l’arrêté', '2026-11-24T00:00:00Z', 'texte de l’arrêté'),
    ('2026-S2', 6.84, 2.75, NULL, 'deux dépôts publics', NULL, NULL);

CREATE FUNCTION keep_legal_rate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF OLD.verified_at IS NOT NULL THEN
        RAISE EXCEPTION 'the legal rate of % is verified, and stays', OLD.semester
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER legal_rate_kept BEFORE UPDATE OR DELETE ON legal_rate
    FOR EACH ROW EXECUTE FUNCTION keep_legal_rate();

-- What a payout that came late costs the operator; paid to the client with its next one.
CREATE TABLE late_payment (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id       bigint NOT NULL,
    payout_id       bigint NOT NULL UNIQUE,
    month           date NOT NULL CHECK (extract(day FROM month) = 1),
    principal_cents bigint NOT NULL CHECK (principal_cents > 0),
    paid_on         date NOT NULL,
    interest_cents  bigint NOT NULL CHECK (interest_cents >= 0),
    indemnity_cents bigint NOT NULL CHECK (indemnity_cents >= 0),
    spans           jsonb NOT NULL,                       -- how the interest is made
    created_at      timestamptz NOT NULL,
    created_by      text NOT NULL,
    FOREIGN KEY (client_id, payout_id) REFERENCES payout (client_id, id),
    CHECK (interest_cents + indemnity_cents > 0)
);
CREATE INDEX late_payment_client ON late_payment (client_id);
CREATE TRIGGER late_payment_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON late_payment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE payout_line ADD COLUMN late_payment_id bigint REFERENCES late_payment;
CREATE INDEX payout_line_late ON payout_line (late_payment_id);
ALTER TABLE payout_line DROP CONSTRAINT payout_line_kind_check;
ALTER TABLE payout_line ADD CONSTRAINT payout_line_kind_check
    CHECK (kind IN ('statement', 'release', 'late'));
ALTER TABLE payout_line DROP CONSTRAINT payout_line_check;
ALTER TABLE payout_line DROP CONSTRAINT payout_line_check1;
ALTER TABLE payout_line ADD CONSTRAINT payout_line_source_check
    CHECK (CASE kind WHEN 'statement' THEN statement_id WHEN 'release' THEN dispute_id
                     ELSE late_payment_id END IS NOT NULL
           AND num_nonnulls(statement_id, dispute_id, late_payment_id) = 1);

GRANT SELECT, INSERT, UPDATE ON legal_rate TO t2p_service;
GRANT SELECT, INSERT ON late_payment TO t2p_service;

SELECT secure_tables();
CREATE POLICY managed ON late_payment FOR SELECT TO t2p_app
    USING (client_id = ANY ((SELECT managed_clients())::bigint[]));
GRANT SELECT ON late_payment TO t2p_app;

ALTER TABLE billing_problem DROP CONSTRAINT billing_problem_stage_check;
ALTER TABLE billing_problem ADD CONSTRAINT billing_problem_stage_check
    CHECK (stage IN ('price', 'issue', 'close', 'send', 'receipt', 'pay', 'settle', 'late'));
