-- Removes what leads to the events of a stream before a version. A repetition of
-- their appends is answered without them from then on. Whoever calls it holds the
-- row of the stream.
CREATE FUNCTION {schema}.unlist_events(owner text, name text, before bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    UPDATE {schema}.appends AS a SET versions = ARRAY[e.version], positions = ARRAY[e.position]
    FROM {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name AND e.version < before
        AND a.tenant = owner AND a.id = e.append_id AND a.last = e.position AND a.versions IS NULL;

    DELETE FROM {schema}.event_tags AS t
    USING (
        SELECT e.position, unnest(e.tags) AS tag FROM {schema}.events AS e
        WHERE e.tenant = owner AND e.stream = name AND e.version < before
    ) AS e
    WHERE t.tenant = owner AND t.tag = e.tag AND t.position = e.position;

    DELETE FROM {schema}.event_correlations AS c
    USING (
        SELECT e.position, {schema}.correlation_hash(CASE WHEN strpos(e.metadata, '\u0000') = 0
            THEN e.metadata::json ->> 'correlation_id' END) AS hash
        FROM {schema}.events AS e
        WHERE e.tenant = owner AND e.stream = name AND e.version < before
        OFFSET 0
    ) AS e
    WHERE c.tenant = owner AND c.hash = e.hash AND c.position = e.position;
    -- No text holds a zero, though JSON does: such a correlation is looked for.
    DELETE FROM {schema}.event_correlations AS c USING {schema}.events AS e
    WHERE e.tenant = owner AND e.stream = name AND e.version < before
        AND strpos(e.metadata, '\u0000') > 0
        AND c.tenant = owner AND c.position = e.position;
END
$$;
