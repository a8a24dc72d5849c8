-- What those who listen are to be told, the newest of it. Tags are kept as their bytes, as
-- a tag may be any text; without any it is everything.
CREATE UNLOGGED TABLE {schema}.invalidations (
    number bigint PRIMARY KEY,
    tags bytea[],
    position bigint NOT NULL
);
