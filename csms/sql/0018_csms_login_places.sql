-- From where a person has logged in is looked up at every attempt, among log-ins that are over too.
CREATE INDEX login_session_places ON login_session (person_id, created_at);
