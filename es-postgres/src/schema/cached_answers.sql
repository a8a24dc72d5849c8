-- Answers of queries, by the hashes of their keys, and the stamps that their tags had
-- before they were made. One that bears other stamps than its tags do now is not found.
-- The position is moved so that what has no sign is in order.
CREATE UNLOGGED TABLE {schema}.cached_answers (
    key bytea PRIMARY KEY,
    stamp text COLLATE "C" NOT NULL,
    as_of bigint NOT NULL,
    value bytea NOT NULL,
    until timestamptz NOT NULL
);
