CREATE TABLE timers (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    due INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
);
