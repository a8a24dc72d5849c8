CREATE TABLE view_rows (
    view TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (view, tenant, key)
) WITHOUT ROWID;
