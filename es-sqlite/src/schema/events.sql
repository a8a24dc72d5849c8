-- The log. Positions are drawn by the one writer that holds the write lock, so
-- they are in commit order. Tags are joined by line feeds, which no tag holds.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES streams,
    version INTEGER NOT NULL,
    kind INTEGER NOT NULL REFERENCES kinds,
    recorded_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    append_id BLOB,
    correlation TEXT,
    tags TEXT,
    metadata TEXT,
    payload BLOB NOT NULL
);
