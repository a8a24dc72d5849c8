CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants,
    category INTEGER NOT NULL REFERENCES categories,
    name TEXT NOT NULL,
    UNIQUE (tenant, name)
);
