-- Log-ins: when a refresh token was last changed (a lost answer may be asked for again for a few
-- seconds), and the right to forget what is over.
ALTER TABLE login_session ADD COLUMN refreshed_at timestamptz;
GRANT DELETE ON login_session, one_time_link TO t2p_service;
CREATE INDEX login_session_ended ON login_session (ended_at);
CREATE INDEX one_time_link_expires ON one_time_link (expires_at);
