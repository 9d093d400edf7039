-- Supply meters that are replaced.

-- The first reading of a meter that replaces another: its index goes on from none before it.
ALTER TABLE supply_reading ADD COLUMN is_new_meter boolean NOT NULL DEFAULT false;
