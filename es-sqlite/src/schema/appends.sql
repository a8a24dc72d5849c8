-- The idempotency keys, for the life of the log.
CREATE TABLE appends (
    tenant INTEGER NOT NULL,
    id BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- The versions and positions of its writes as JSON, if it has several or if its
    -- last event was removed.
    results TEXT,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
