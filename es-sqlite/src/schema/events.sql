-- The log. Positions are drawn by the one writer that holds the write lock, so
-- they are in commit order. `ids` is the event's id and, if its writer gave one,
-- the append's; tags are joined by line feeds, which no tag holds. `stream` and
-- `kind` have no REFERENCES, which would be looked up for each event: the writer
-- has just read or made what they name.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    ids BLOB NOT NULL,
    tags TEXT,
    metadata TEXT,
    payload BLOB NOT NULL
);
