-- The idempotency keys that came with the events. What follows in one stream is
-- taken for one write, and ends where the next event is of another.
INSERT INTO appends (tenant, id, first, last, results)
SELECT
    tenant,
    id,
    min(position),
    max(position),
    CASE WHEN sum(ends) > 1 THEN
        '[' || group_concat('[' || version || ',' || position || ']', ',' ORDER BY position)
            FILTER (WHERE ends) || ']'
    END
FROM (
    SELECT
        s.tenant AS tenant,
        substr(e.ids, 17) AS id,
        e.position AS position,
        e.version AS version,
        lead(e.stream) OVER (PARTITION BY s.tenant, substr(e.ids, 17) ORDER BY e.position)
            IS NOT e.stream AS ends
    FROM events e
    JOIN streams s ON s.id = e.stream
    WHERE length(e.ids) = 32
)
GROUP BY tenant, id
