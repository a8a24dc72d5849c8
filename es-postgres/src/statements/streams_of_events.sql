-- The versions of the streams whose events have been copied in; for a tombstoned
-- one see `end_stream`.
INSERT INTO {schema}.streams AS s (tenant, stream, version, expected)
SELECT tenant, stream, CASE WHEN bool_or(type = 'gesta.tombstoned') THEN 9223372036854775807
    ELSE max(version) END, 0
FROM {schema}.events GROUP BY tenant, stream
ON CONFLICT (tenant, stream) DO UPDATE SET version = excluded.version
