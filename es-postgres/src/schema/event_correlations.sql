-- By a hash of the correlation id, which may be longer than a key can be.
CREATE TABLE {schema}.event_correlations (
    tenant text COLLATE "C" NOT NULL,
    hash bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, hash, position)
);
