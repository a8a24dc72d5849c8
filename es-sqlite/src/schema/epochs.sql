-- The latest epoch of the parts that a model has no more.
CREATE TABLE epochs (
    model TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
