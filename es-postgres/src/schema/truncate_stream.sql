-- Removes the events of a stream before a version, before the newest, before the
-- first that is younger; but never its last. What is left of the last removed one
-- is a marker. Who has nothing to remove takes no lock.
CREATE FUNCTION {schema}.truncate_stream(
    owner text, name text, before bigint, newest bigint, since timestamptz, marker uuid,
    OUT removed bigint
) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
    last bigint;
    young bigint;
    kept bigint;
BEGIN
    removed := 0;
    SELECT max(e.version) INTO last FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name;
    IF since IS NOT NULL THEN
        SELECT e.version INTO young FROM {schema}.events AS e
        WHERE e.tenant = owner AND e.stream = name AND (e.recorded_at > since) IS TRUE
        ORDER BY e.version LIMIT 1;
        young := coalesce(young, last);
    END IF;
    kept := least(last, coalesce(greatest(before, last - newest + 1, young), 0));
    IF NOT EXISTS (SELECT FROM {schema}.events AS e WHERE e.tenant = owner AND e.stream = name
        AND e.version < kept AND e.type <> 'gesta.truncated')
    THEN
        RETURN;
    END IF;

    PERFORM FROM {schema}.streams AS s WHERE s.tenant = owner AND s.stream = name
    FOR NO KEY UPDATE;
    SELECT count(*) INTO removed FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name AND e.version < kept
        AND e.type <> 'gesta.truncated';
    IF removed = 0 THEN
        RETURN;
    END IF;
    PERFORM {schema}.unlist_events(owner, name, kept);
    DELETE FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name AND e.version < kept - 1;
    UPDATE {schema}.events AS e SET type = 'gesta.truncated', schema_version = 1,
        content_type = 'application/json', id = marker, append_id = NULL, tags = NULL,
        metadata = NULL, payload = '{}'
    WHERE e.tenant = owner AND e.stream = name AND e.version = kept - 1;
END
$$;
