-- The rows of the views, and what is kept beside them (kind 1). A key may be any text, so
-- it is kept as its bytes.
CREATE TABLE {schema}.view_rows (
    model text COLLATE "C" NOT NULL,
    build bigint NOT NULL,
    kind smallint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (model, build, kind, tenant, key)
);
