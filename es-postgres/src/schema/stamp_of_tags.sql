-- The stamps of these tags together, as far as they are known.
CREATE FUNCTION {schema}.stamp_of_tags(hashes bytea[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(t.stamp::text, ',' ORDER BY t.tag)
    FROM {schema}.cache_tags AS t WHERE t.tag = ANY (hashes)
$$;
