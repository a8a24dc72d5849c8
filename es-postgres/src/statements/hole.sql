-- The first event that does not follow the one before it in its stream.
SELECT greatest(position, earlier)
FROM (
    SELECT position, version, lag(version) OVER own AS before, lag(position) OVER own AS earlier
    FROM {schema}.events
    WINDOW own AS (PARTITION BY tenant, stream ORDER BY version)
) AS e
WHERE version <> before + 1 OR position < earlier
ORDER BY 1 LIMIT 1
