-- How far each part of a build has come, who keeps it, and since when for how long.
CREATE TABLE parts (
    model TEXT NOT NULL,
    build INTEGER NOT NULL,
    first_slice INTEGER NOT NULL,
    last_slice INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    owner TEXT,
    lease INTEGER NOT NULL DEFAULT 0,
    leased_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, build, first_slice, last_slice)
) WITHOUT ROWID;
