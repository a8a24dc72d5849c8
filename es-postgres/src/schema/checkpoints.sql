CREATE TABLE {schema}.checkpoints (
    name text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    position bigint NOT NULL
);
