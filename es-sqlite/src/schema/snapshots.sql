CREATE TABLE snapshots (
    tenant TEXT NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    state BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (tenant, stream)
);
