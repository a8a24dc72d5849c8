-- The stamp of the tags, and the answer if it was put under this very stamp and is not too
-- old. The tags are noted for twice as long as they are needed, so that most looks write
-- nothing. Who notes some forgets as many that nobody has needed for long, and again: there
-- is never more than was looked for lately.
--
-- Tags are locked in their order, as by whoever invalidates; what is to be forgotten is
-- not waited for.
CREATE FUNCTION {schema}.look_up(
    key bytea, tags bytea[], needed interval,
    OUT stamp text, OUT as_of bigint, OUT value bytea, OUT millis_left bigint
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    hashes bytea[] := {schema}.hashes_of_tags(tags);
    noted bigint;
BEGIN
    SELECT count(*) INTO noted FROM {schema}.cache_tags AS t
    WHERE t.tag = ANY (hashes) AND t.until >= now() + needed;
    IF noted < cardinality(hashes) THEN
        INSERT INTO {schema}.cache_tags AS t (tag, until)
        SELECT hash, now() + 2 * needed FROM unnest(hashes) AS hash ORDER BY hash
        ON CONFLICT (tag) DO UPDATE SET until = greatest(t.until, excluded.until);
        DELETE FROM {schema}.cache_tags AS t WHERE t.tag = ANY (ARRAY(
            SELECT old.tag FROM {schema}.cache_tags AS old WHERE old.until < now()
            ORDER BY old.until LIMIT 2 * cardinality(hashes) FOR UPDATE SKIP LOCKED));
    END IF;
    stamp := {schema}.stamp_of_tags(hashes);
    SELECT a.as_of, a.value, extract(epoch FROM a.until - now()) * 1000
    INTO as_of, value, millis_left
    FROM {schema}.cached_answers AS a
    WHERE a.key = sha256(look_up.key) AND a.stamp = look_up.stamp AND a.until > now();
END
$$;
