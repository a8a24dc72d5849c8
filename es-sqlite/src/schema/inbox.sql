-- What the handler of a group has handled, written in the transaction of what it did.
CREATE TABLE inbox (
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    message TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, endpoint, message)
) WITHOUT ROWID;
