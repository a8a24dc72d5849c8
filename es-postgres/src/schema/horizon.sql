-- How far a reader may read: everything at or before `horizon` that will ever be
-- there is there, for a statement that begins after this one has ended. `drawn`
-- only grows, unless an older copy of the server has taken its place.
--
-- An append takes a shared lock whose key carries the last position drawn before
-- it, its floor, and only then draws its own. First the last position committed
-- is read, then the least floor among the locks. An append that is not among them
-- has ended, or will draw above what was read first.
--
-- Not the last position drawn: one that was drawn in vain is forgotten by a crash
-- of the server, and drawn once more.
CREATE FUNCTION {schema}.horizon(store integer, OUT horizon bigint, OUT drawn bigint)
LANGUAGE plpgsql VOLATILE STRICT AS $$
DECLARE
    bound bigint;
    floor bigint;
BEGIN
    SELECT coalesce((SELECT max(position) FROM {schema}.events), 0), last_value INTO bound, drawn
    FROM {schema}.positions;
    SELECT min((classid::bigint & 65535) << 32 | objid::bigint) INTO floor FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = store
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    horizon := least(bound, floor);
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'a standby does not know which appends are under way'
            USING ERRCODE = 'read_only_sql_transaction';
    END IF;
END
$$;
