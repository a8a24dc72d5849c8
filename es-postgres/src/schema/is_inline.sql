-- Whether the rows of a read model change with each append: whether its parts are kept so.
-- It sees what the statement sees that asks.
CREATE FUNCTION {schema}.is_inline(name text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM {schema}.builds AS b
        JOIN {schema}.parts AS p ON p.model = b.model AND p.build = b.number
        WHERE b.model = name AND b.serves
            AND p.owner = 'gesta.inline' AND p.until > clock_timestamp());
END
$$;
