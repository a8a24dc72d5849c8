-- The snapshot of a stream, if there is one, and the stream from the last event on that it
-- reflects, or all of it: a row for each, in which the columns of the other kind are null.
WITH kept AS MATERIALIZED (
    SELECT version, fingerprint, content_type, state, checksum
    FROM {schema}.snapshots WHERE tenant = $1 AND stream = $2
)
SELECT {columns}, s.version, s.fingerprint, s.content_type, s.state, s.checksum
FROM kept AS s LEFT JOIN {schema}.events AS e ON false
UNION ALL
SELECT {columns}, s.version, s.fingerprint, s.content_type, s.state, s.checksum
FROM (
    SELECT * FROM {schema}.events
    WHERE tenant = $1 AND stream = $2 AND version >= coalesce((SELECT version FROM kept), 1)
    ORDER BY version LIMIT $3
) AS e LEFT JOIN kept AS s ON false
