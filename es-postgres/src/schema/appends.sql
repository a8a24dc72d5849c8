-- The idempotency keys, for the life of the log.
CREATE TABLE {schema}.appends (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    -- The versions and positions of its writes, if it has several or if their last
    -- event was removed.
    versions bigint[],
    positions bigint[],
    PRIMARY KEY (tenant, id)
);
