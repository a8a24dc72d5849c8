-- Appends a marker to a stream, and removes all before it, the snapshot of the
-- stream, and the claims that it holds. Locks are taken as by `append_one`.
--
-- The version of a tombstoned stream is the largest, in `streams`: no statement
-- that appends can go beyond, and `append_one` knows why.
CREATE FUNCTION {schema}.end_stream(
    store integer, owner text, now timestamptz, bucket integer, name text, expected bigint,
    marker text, id uuid,
    OUT outcome text, OUT reached bigint, OUT place bigint
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    last text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(store, bucket);
    PERFORM pg_advisory_xact_lock_shared((store::bigint << 48) | last_value)
    FROM {schema}.positions;
    PERFORM FROM {schema}.streams AS s WHERE s.tenant = owner AND s.stream = name
    FOR NO KEY UPDATE;

    -- The same call once more, whose answer was lost: others may have gone on since.
    SELECT e.version, e.position INTO reached, place FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name AND e.id = id;
    IF FOUND THEN
        outcome := 'repeated';
        RETURN;
    END IF;
    SELECT e.version, e.position, e.type INTO reached, place, last FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name ORDER BY e.version DESC LIMIT 1;
    outcome := CASE WHEN last IN (marker, 'gesta.tombstoned') THEN 'repeated'
        WHEN last IS NOT NULL AND (expected IN (-1, -2) OR expected = reached) THEN 'written'
        ELSE 'conflict' END;
    IF outcome <> 'written' THEN
        RETURN;
    END IF;

    reached := reached + 1;
    PERFORM {schema}.unlist_events(owner, name, reached);
    DELETE FROM {schema}.events AS e WHERE e.tenant = owner AND e.stream = name;
    DELETE FROM {schema}.snapshots AS s WHERE s.tenant = owner AND s.stream = name;
    DELETE FROM {schema}.claims AS c WHERE c.tenant = owner AND c.holder = name;
    INSERT INTO {schema}.events AS e (position, tenant, stream, version, type, schema_version,
        content_type, id, recorded_at, payload)
    VALUES (nextval('{schema}.positions'), owner, name, reached, marker, 1, 'application/json', id,
        now, '{}')
    RETURNING e.position INTO place;
    UPDATE {schema}.streams AS s
    SET version = CASE marker WHEN 'gesta.tombstoned' THEN 9223372036854775807 ELSE reached END
    WHERE s.tenant = owner AND s.stream = name;
END
$$;
