-- Undoes a statement that turned out not to be the simple case.
CREATE FUNCTION {schema}.refuse() RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RAISE EXCEPTION 'not a simple append' USING ERRCODE = 'GE001';
END
$$;
