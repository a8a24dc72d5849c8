-- Takes $2 of those away that were received before $1. Two that do so at once are not in
-- each other's way.
WITH old AS (
    SELECT tenant, endpoint, message FROM {schema}.inbox
    WHERE received_at < $1 ORDER BY received_at LIMIT $2
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {schema}.inbox AS i USING old
    WHERE i.tenant = old.tenant AND i.endpoint = old.endpoint AND i.message = old.message
    RETURNING 1
)
SELECT count(*) FROM gone
