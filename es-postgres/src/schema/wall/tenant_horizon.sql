-- As `horizon`, for a session that sees one tenant's rows alone: its last event
-- is a bound just as good. Only an index that begins with the tenant has the order
-- that is asked for, as a range is no equality: else the planner may take the one
-- of the log, and walk what all others have written since a quiet tenant has.
CREATE OR REPLACE FUNCTION {schema}.tenant_horizon(
    store integer, OUT horizon bigint, OUT drawn bigint
) LANGUAGE plpgsql VOLATILE STRICT AS $$
DECLARE
    own text := current_setting('gesta.tenant', true);
    bound bigint;
    floor bigint;
BEGIN
    IF own = 'default' THEN
        SELECT position INTO bound FROM {schema}.events
        WHERE tenant >= 'default' AND tenant <= 'default'
        ORDER BY tenant DESC, position DESC LIMIT 1;
    ELSE
        SELECT position INTO bound FROM {schema}.events
        WHERE tenant >= own AND tenant <= own AND tenant <> 'default'
        ORDER BY tenant DESC, position DESC LIMIT 1;
    END IF;
    SELECT last_value INTO drawn FROM {schema}.positions;
    SELECT min((classid::bigint & 65535) << 32 | objid::bigint) INTO floor FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = store
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    horizon := least(coalesce(bound, 0), floor);
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'a standby does not know which appends are under way'
            USING ERRCODE = 'read_only_sql_transaction';
    END IF;
END
$$;
