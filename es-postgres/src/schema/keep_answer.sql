-- Keeps an answer, unless its tags have another stamp by now or a younger one is there, and
-- forgets some that are too old: more than it adds, so that they do not pile up. They are
-- not waited for. An invalidation that comes in between does no harm: what is kept then
-- bears a stamp that nobody looks for.
CREATE FUNCTION {schema}.keep_answer(
    key bytea, tags bytea[], stamp text, as_of bigint, value bytea, ttl interval
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
BEGIN
    IF stamp IS DISTINCT FROM {schema}.stamp_of_tags({schema}.hashes_of_tags(tags)) THEN
        RETURN;
    END IF;
    INSERT INTO {schema}.cached_answers AS a
    VALUES (sha256(key), stamp, as_of, value, now() + ttl)
    ON CONFLICT ON CONSTRAINT cached_answers_pkey DO UPDATE
    SET stamp = excluded.stamp, as_of = excluded.as_of, value = excluded.value,
        until = excluded.until
    WHERE a.stamp <> excluded.stamp OR a.as_of <= excluded.as_of OR a.until <= now();
    DELETE FROM {schema}.cached_answers AS a WHERE a.key = ANY (ARRAY(
        SELECT old.key FROM {schema}.cached_answers AS old WHERE old.until <= now()
        ORDER BY old.until LIMIT 10 FOR UPDATE SKIP LOCKED));
END
$$;
