-- Whom a manager wants in a group, and who has to agree first: the driver. Until she has, she is no
-- member, and the manager is shown nothing of her; that this row is there least of all.
CREATE TABLE group_request (
    group_id   bigint NOT NULL REFERENCES driver_group,
    person_id  bigint NOT NULL REFERENCES person,
    asked_by   text NOT NULL,
    asked_at   timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > asked_at),
    from_at    timestamptz,  -- of the membership; NULL: once she agrees
    to_at      timestamptz,
    decided_at timestamptz,
    accepted   boolean,
    CHECK ((decided_at IS NULL) = (accepted IS NULL)),
    CHECK (to_at > from_at),
    PRIMARY KEY (group_id, person_id)
);
CREATE INDEX group_request_person ON group_request (person_id);
CREATE INDEX group_request_expires ON group_request (expires_at);

ALTER TABLE group_request ENABLE ROW LEVEL SECURITY;
CREATE POLICY service ON group_request TO t2p_service USING (true) WITH CHECK (true);
CREATE POLICY own ON group_request FOR SELECT TO t2p_app USING (person_id = (SELECT acting_person()));
GRANT SELECT ON group_request TO t2p_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON group_request TO t2p_service;
