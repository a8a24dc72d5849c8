CREATE TABLE timers_of_owners (
    tenant TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    due INTEGER NOT NULL,
    wake INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant, owner, name)
);
