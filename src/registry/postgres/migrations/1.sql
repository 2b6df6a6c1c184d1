-- Rows as the server writes them: their keys are ordered as bytes, and what is
-- in them is the server's own business. What changes often finds room beside
-- its old version, so that no index has to be written again.

CREATE TABLE firstwake.meta (
    key bytea PRIMARY KEY,
    row bytea NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE firstwake.devices (
    key bytea PRIMARY KEY,
    row bytea NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE firstwake.index (
    key bytea PRIMARY KEY,
    row bytea NOT NULL
) WITH (fillfactor = 90);

CREATE TABLE firstwake.events (
    key bytea PRIMARY KEY,
    row bytea NOT NULL
);

CREATE TABLE firstwake.mail (
    key bytea PRIMARY KEY,
    row bytea NOT NULL
) WITH (fillfactor = 80);
