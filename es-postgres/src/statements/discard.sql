-- Deletes some rows of a build that has been discarded, and says which was the last. The
-- build is locked, so that whoever else discards it waits; and one of that number that has
-- begun since then has parts, and is left alone. Each time goes on behind the last row: a
-- search from the start would pass all that was deleted and is still in the index.
WITH discarded AS (
    SELECT FROM {schema}.builds AS b
    WHERE b.model = $1 AND b.number = $2 AND NOT EXISTS (
        SELECT FROM {schema}.parts AS p WHERE p.model = b.model AND p.build = b.number)
    FOR UPDATE OF b
), batch AS (
    SELECT ctid AS place, kind, tenant, key FROM {schema}.view_rows
    WHERE EXISTS (SELECT FROM discarded) AND model = $1 AND build = $2
        AND (kind, tenant, key) > ($3, $4, $5)
    ORDER BY kind, tenant, key LIMIT $6
), deleted AS (
    DELETE FROM {schema}.view_rows WHERE ctid = ANY (ARRAY(SELECT place FROM batch))
)
SELECT kind, tenant, key FROM batch ORDER BY kind DESC, tenant DESC, key DESC LIMIT 1
