-- Positions are drawn for the rows of `placed`, hence after the rows of the
-- streams are locked, which happens after the floor was registered.
WITH guarded AS MATERIALIZED (
    SELECT count(*) FROM (
        SELECT pg_advisory_xact_lock_shared({store}, bucket) FROM unnest($2::int[]) AS bucket
        OFFSET 0
    ) AS buckets
), registered AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(({store}::bigint << 48)
        | (SELECT last_value FROM {schema}.positions))
    FROM guarded
    -- Models that change with each append, and old snapshots, are for `append_one`.
    WHERE NOT EXISTS (SELECT FROM {schema}.inline_models AS i
            WHERE i.types && $11::text[] AND {schema}.is_inline(i.model))
        AND current_setting('transaction_isolation') = 'read committed'
), heads AS (
    INSERT INTO {schema}.streams AS s (tenant, stream, version, expected)
    SELECT h.tenant, h.stream, h.added, h.expected
    FROM registered, unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $19::uuid[])
        AS h (tenant, stream, added, expected, id)
    -- What is known is left out; who makes it known meanwhile is found by `known`.
    WHERE NOT EXISTS (SELECT FROM {schema}.appends AS a -- if append
        WHERE a.tenant = h.tenant COLLATE "C" AND a.id = h.id) -- if append
    ORDER BY h.tenant COLLATE "C", h.stream COLLATE "C"
    ON CONFLICT (tenant, stream) DO UPDATE SET version = s.version + excluded.version
    WHERE CASE excluded.expected WHEN -1 THEN true WHEN -2 THEN s.version > 0
        ELSE s.version = excluded.expected END
    RETURNING s.tenant, s.stream, s.version
), placed AS MATERIALIZED (
    SELECT i.head, i.expected, s.tenant, s.stream, s.version - i.added AS base
    FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[])
        WITH ORDINALITY AS i (tenant, stream, added, expected, head)
    JOIN heads AS s ON s.tenant = i.tenant COLLATE "C" AND s.stream = i.stream COLLATE "C"
), drawn AS MATERIALIZED (
    SELECT nextval('{schema}.positions') AS position, e.* FROM (
        SELECT p.tenant, p.stream, p.base + e.place AS version, e.type, e.schema_version,
            e.content_type, e.id, e.append, string_to_array(e.tags, E'\n') AS tags,
            e.metadata, e.hash, e.payload
        FROM unnest($8::uuid[], $9::int[], $10::bigint[], $11::text[], $12::bigint[],
                $13::text[], $14::uuid[], $15::text[], $16::text[], $17::bigint[], $18::bytea[])
            WITH ORDINALITY AS e (append, head, place, type, schema_version, content_type, id,
                tags, metadata, hash, payload, ordinal)
        JOIN placed AS p ON p.head = e.head ORDER BY e.ordinal
    ) AS e
), written AS (
    INSERT INTO {schema}.events (position, tenant, stream, version, type, schema_version,
        content_type, id, append_id, recorded_at, tags, metadata, payload)
    SELECT position, tenant, stream, version, type, schema_version, content_type, id, append, $1,
        tags, metadata, payload
    FROM drawn
), tagged AS ( -- if tags
    INSERT INTO {schema}.event_tags (tenant, tag, position) -- if tags
    SELECT DISTINCT tenant, tag, position FROM drawn, unnest(tags) AS tag -- if tags
), correlated AS ( -- if correlation
    INSERT INTO {schema}.event_correlations (tenant, hash, position) -- if correlation
    SELECT tenant, hash, position FROM drawn WHERE hash IS NOT NULL -- if correlation
), known AS ( -- if append
    INSERT INTO {schema}.appends (tenant, id, first, last) -- if append
    SELECT tenant, append, min(position), max(position) FROM drawn -- if append
    WHERE append IS NOT NULL GROUP BY tenant, append ORDER BY append -- if append
    ON CONFLICT DO NOTHING RETURNING id -- if append
)
SELECT (SELECT array_agg(head ORDER BY head) FROM placed),
    (SELECT array_agg(base ORDER BY head) FROM placed),
    (SELECT array_agg(position ORDER BY position) FROM drawn),
    CASE WHEN ($7::boolean AND (SELECT count(*) FROM placed) < cardinality($3))
        OR EXISTS (SELECT FROM placed WHERE base = 0 AND (expected > 0 OR expected = -2))
        OR (SELECT count(*) FROM known) -- if append
            < (SELECT count(DISTINCT append) FROM drawn WHERE append IS NOT NULL) -- if append
    THEN {schema}.refuse() END
