-- The idempotency keys, for the life of the log.
CREATE TABLE appends (
    tenant INTEGER NOT NULL,
    id BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
