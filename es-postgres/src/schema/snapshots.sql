CREATE TABLE {schema}.snapshots (
    tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    fingerprint bigint NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    state bytea NOT NULL,
    checksum bigint NOT NULL,
    PRIMARY KEY (tenant, stream)
);
