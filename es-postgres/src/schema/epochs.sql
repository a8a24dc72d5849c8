-- The last epoch of the parts that a model has no more: a build may come back under a
-- number that was used, its owners may not.
CREATE TABLE {schema}.epochs (
    model text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL
);
