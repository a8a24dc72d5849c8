-- Draws other stamps for the tags, as far as anybody looks for them, or without tags for
-- the one that every answer bears. Then notes it for those who listen, keeps the newest
-- `kept` of that, and hands out its number.
--
-- Each number is one more than the last, which has been committed, as one comes after the
-- other: who has read one has read all before it. After a loss they begin at the clock, so
-- that none comes twice.
--
-- Nobody is woken from here. A transaction that has said NOTIFY keeps all others of the
-- whole cluster from committing theirs with one: `horizon.rs` says it, seldom, by itself.
CREATE FUNCTION {schema}.invalidate(tags bytea[], at_position bigint, kept bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    hashes bytea[] := CASE WHEN tags IS NULL THEN ARRAY[''::bytea]
        ELSE ARRAY(SELECT sha256(tag) FROM unnest(tags) AS tag) END;
    latest bigint;
BEGIN
    PERFORM FROM {schema}.cache_tags AS t WHERE t.tag = ANY (hashes) ORDER BY t.tag FOR UPDATE;
    UPDATE {schema}.cache_tags AS t SET stamp = DEFAULT WHERE t.tag = ANY (hashes);
    PERFORM pg_advisory_xact_lock({store}, hashtext('invalidations'));
    SELECT coalesce(max(i.number), extract(epoch FROM clock_timestamp()) * 1000000) + 1
    INTO latest FROM {schema}.invalidations AS i;
    INSERT INTO {schema}.invalidations VALUES (latest, tags, at_position);
    DELETE FROM {schema}.invalidations AS i WHERE i.number <= latest - kept;
    RETURN latest;
END
$$;
