-- What the handler of a group has handled, written in its own transaction. Of a message's
-- id, which may be any text of any length, there is the hash.
CREATE TABLE {schema}.inbox (
    tenant text COLLATE "C" NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    message bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, endpoint, message)
);
