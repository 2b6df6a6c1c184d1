-- Locks and the common state of the servers lie in tables of the registry's
-- own: a role that may only connect to the database can touch neither.

-- Every server that has the registry open holds this table in ROW SHARE mode, a
-- command that needs it for itself in EXCLUSIVE mode. It has no columns.
CREATE TABLE firstwake.presence ();

-- Random bytes that each server draws anew once it listens. A hint names those
-- that were there when it was sealed, so none that was recorded before is taken.
CREATE TABLE firstwake.hint_epoch (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    epoch bytea NOT NULL
);
INSERT INTO firstwake.hint_epoch (epoch) VALUES (uuid_send(gen_random_uuid()));
