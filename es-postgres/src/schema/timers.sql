CREATE TABLE {schema}.timers (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    due timestamptz NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (tenant, name)
);
