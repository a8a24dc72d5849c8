-- The version of each stream. An append locks its rows in the order of the key
-- before it draws positions. `expected` only carries what a writer expects into
-- ON CONFLICT, where no other table can be seen; once stored it means nothing. A
-- tombstoned stream has the largest version there is: see `end_stream`.
CREATE TABLE {schema}.streams (
    tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    expected bigint NOT NULL,
    PRIMARY KEY (tenant, stream)
) WITH (fillfactor = 70);
