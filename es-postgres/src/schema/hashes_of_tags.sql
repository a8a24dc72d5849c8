-- The tags as they are in `cache_tags`, with the one that every answer bears.
CREATE FUNCTION {schema}.hashes_of_tags(tags bytea[]) RETURNS bytea[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT array_append(array_agg(DISTINCT sha256(tag)), ''::bytea) FROM unnest(tags) AS tag
$$;
