-- What a client was paid is asked for each client of a run; without these, all that was ever paid is
-- read for each.

CREATE INDEX payout_line_client ON payout_line (client_id);
CREATE INDEX payout_event_client ON payout_event (client_id);
