-- The log. Positions are drawn from `positions` by appends that have registered
-- their floor and hold the row of the stream in `streams`: see `horizon`.
-- Payloads are bytes, as no type of JSON gives back what was put in.
CREATE TABLE {schema}.events (
    position bigint PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    schema_version bigint NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    append_id uuid,
    recorded_at timestamptz NOT NULL,
    tags text[] COLLATE "C",
    metadata text,
    payload bytea NOT NULL,
    UNIQUE (tenant, stream, version)
);
