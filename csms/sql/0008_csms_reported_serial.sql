-- A serial number proves nothing when the station itself reports it: whoever boots with another's
-- would get that one's certificate. Apart from it, `serial` is what people wrote, and may be the CN
-- of a certificate. Of a station that has booted nobody knows any more who said it.
ALTER TABLE station ADD COLUMN reported_serial text;
UPDATE station SET reported_serial = serial, serial = NULL WHERE booted_at IS NOT NULL;
