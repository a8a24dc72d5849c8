-- Rows of a read model, and what is kept beside them.
CREATE TABLE view_rows (
    model TEXT NOT NULL,
    build INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (model, build, kind, tenant, key)
) WITHOUT ROWID;
