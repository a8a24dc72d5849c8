-- How far each part of a build has come, and who keeps it. A commit moves the row if it
-- looks as it was seen, so that whoever has lost it writes nothing. Leases are told by
-- this server's clock.
CREATE TABLE {schema}.parts (
    model text COLLATE "C" NOT NULL,
    build bigint NOT NULL,
    first_slice integer NOT NULL,
    last_slice integer NOT NULL,
    epoch bigint NOT NULL,
    position bigint NOT NULL,
    owner text COLLATE "C",
    lease interval NOT NULL DEFAULT '0',
    until timestamptz NOT NULL DEFAULT 'epoch',
    PRIMARY KEY (model, build, first_slice, last_slice)
) WITH (fillfactor = 70);
