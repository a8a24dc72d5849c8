-- The tags that anybody has looked for lately, by their hashes, as a tag may be any text.
-- The stamp is drawn by lot, and anew by each invalidation. The empty tag is borne by
-- every answer.
--
-- A crash empties the table. Whoever looks then draws other stamps than there ever were,
-- so that nothing that was made under the old ones is found.
CREATE UNLOGGED TABLE {schema}.cache_tags (
    tag bytea PRIMARY KEY,
    stamp uuid NOT NULL DEFAULT gen_random_uuid(),
    until timestamptz NOT NULL
) WITH (fillfactor = 70);
