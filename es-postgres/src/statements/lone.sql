-- Positions are drawn for the row that `head` returns, hence after it is locked,
-- which happens after the floor was registered.
WITH guarded AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared({store}, $2::int)
    -- Models that change with each append, and old snapshots, are for `append_one`.
    WHERE NOT EXISTS (SELECT FROM {schema}.inline_models AS i
            WHERE $6 = ANY (i.types) AND {schema}.is_inline(i.model))
        AND current_setting('transaction_isolation') = 'read committed'
), registered AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(({store}::bigint << 48)
        | (SELECT last_value FROM {schema}.positions))
    FROM guarded
    WHERE NOT EXISTS (SELECT FROM {schema}.appends WHERE tenant = $3 AND id = $12) -- if append
), head AS (
    INSERT INTO {schema}.streams AS s (tenant, stream, version, expected) -- if new
    SELECT $3, $4, 1, $5 FROM registered -- if new
    ON CONFLICT (tenant, stream) DO UPDATE SET version = s.version + 1 -- if new
    WHERE $5 = -1 OR s.version = 0 -- if new
    UPDATE {schema}.streams AS s SET version = s.version + 1 FROM registered -- unless new
    WHERE s.tenant = $3 AND s.stream = $4 -- unless new
        AND CASE $5::bigint WHEN -2 THEN s.version > 0 ELSE s.version = $5 END -- unless new
    RETURNING s.version
), drawn AS MATERIALIZED (
    SELECT nextval('{schema}.positions') AS position, version FROM head
), written AS (
    INSERT INTO {schema}.events (position, tenant, stream, version, type, schema_version,
        content_type, id, append_id, recorded_at, metadata, payload)
    SELECT position, $3, $4, version, $6, $7, $8, $9, $12, $1, $10, $11 FROM drawn
), known AS ( -- if append
    INSERT INTO {schema}.appends (tenant, id, first, last) -- if append
    SELECT $3, $12, position, position FROM drawn -- if append
), correlated AS ( -- if correlation
    INSERT INTO {schema}.event_correlations (tenant, hash, position) -- if correlation
    SELECT $3, $13::bigint, position FROM drawn -- if correlation
)
SELECT version, position FROM drawn
