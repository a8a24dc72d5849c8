-- The idempotency keys that came with the events. What follows in one stream is
-- taken for one write, and ends where the next event is of another.
INSERT INTO {schema}.appends (tenant, id, first, last, versions, positions)
SELECT tenant, append_id, min(position), max(position),
    CASE WHEN count(*) FILTER (WHERE ends) > 1
        THEN array_agg(version ORDER BY position) FILTER (WHERE ends) END,
    CASE WHEN count(*) FILTER (WHERE ends) > 1
        THEN array_agg(position ORDER BY position) FILTER (WHERE ends) END
FROM (
    SELECT tenant, append_id, position, version,
        lead(stream) OVER (PARTITION BY tenant, append_id ORDER BY position)
            IS DISTINCT FROM stream AS ends
    FROM {schema}.events
    WHERE append_id IS NOT NULL
) AS e
GROUP BY tenant, append_id
