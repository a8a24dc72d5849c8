-- As `correlation_hash` of the program: FNV-1a over the bytes of "correlation",
-- 0xff, the id, and 0xff; in halves of 32 bits, as the products would not fit.
CREATE FUNCTION {schema}.correlation_hash(id text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    bytes bytea := 'correlation'::bytea || '\xff' || convert_to(id, 'UTF8') || '\xff';
    high bigint := x'cbf29ce4'::bigint;
    low bigint := x'84222325'::bigint;
BEGIN
    FOR at IN 0 .. length(bytes) - 1 LOOP
        low := low # get_byte(bytes, at);
        high := (high * 435 + (low * 435 >> 32) + (low << 8)) & 4294967295;
        low := low * 435 & 4294967295;
    END LOOP;
    RETURN (high << 32) | low;
END
$$;
