CREATE TABLE claims (
    tenant INTEGER NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    PRIMARY KEY (tenant, scope, key)
) WITHOUT ROWID;
