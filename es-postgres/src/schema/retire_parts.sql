-- Takes away the parts of these builds. Whoever is committing to one is waited for, and
-- whoever comes later finds nothing to move. The caller has locked the model.
CREATE FUNCTION {schema}.retire_parts(name text, lowest bigint, highest bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM FROM {schema}.parts AS p
    WHERE p.model = name AND p.build BETWEEN lowest AND highest
    ORDER BY p.build, p.first_slice FOR UPDATE;
    INSERT INTO {schema}.epochs AS e (model, epoch)
    SELECT p.model, max(p.epoch) FROM {schema}.parts AS p
    WHERE p.model = name AND p.build BETWEEN lowest AND highest GROUP BY p.model
    ON CONFLICT (model) DO UPDATE SET epoch = greatest(e.epoch, excluded.epoch);
    DELETE FROM {schema}.parts AS p
    WHERE p.model = name AND p.build BETWEEN lowest AND highest;
END
$$;
