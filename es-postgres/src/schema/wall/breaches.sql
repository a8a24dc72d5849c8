-- What is wrong with the wall for this session: a row for each thing to change.
-- $1 is the schema, $2 the tables with a tenant, $3 those without, $4 the tenant, $5 the
-- tables that are only looked at.
WITH tables AS (
    SELECT c.*, CASE WHEN c.relname = ANY ($2) THEN 'one_tenant'
        WHEN c.relname = ANY ($5) THEN 'looked_at' END AS policy
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = ANY ($2 || $3 || $5)
), owners AS (
    SELECT relowner AS oid FROM tables
    UNION SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = $1
), policies AS (
    SELECT t.relname, t.policy, p.*, ARRAY(
        SELECT r.rolname FROM unnest(p.polroles) AS role (oid)
        JOIN pg_catalog.pg_roles AS r ON r.oid = role.oid
        WHERE pg_has_role(session_user, r.oid, 'MEMBER')
    ) AS mine
    FROM tables AS t JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
), ours AS (
    SELECT * FROM policies
    WHERE polname = policy AND polroles = ARRAY[0::oid] AND CASE policy
        WHEN 'looked_at' THEN polcmd = 'r'
        ELSE polcmd = '*' AND pg_get_expr(polqual, polrelid)
                = '((tenant = current_setting(''gesta.tenant''::text, true)) IS TRUE)'
            AND pg_get_expr(polwithcheck, polrelid) = pg_get_expr(polqual, polrelid)
        END
)
SELECT format('the role %I is %s, take another one', session_user,
    CASE WHEN r.rolname = session_user THEN what.it_is
        ELSE format('a member of %I, which is %s', r.rolname, what.it_is) END)
FROM pg_catalog.pg_roles AS r, LATERAL (SELECT CASE
    WHEN r.rolsuper THEN 'a superuser'
    WHEN r.rolbypassrls THEN 'exempt from row level security'
    WHEN r.rolcreaterole THEN 'free to join other roles (CREATEROLE)'
    WHEN r.oid IN (SELECT oid FROM owners) THEN 'an owner of the schema or a table'
    WHEN r.rolname IN ('pg_execute_server_program', 'pg_read_server_files',
        'pg_write_server_files') THEN 'let at the files of the server'
    END AS it_is) AS what
WHERE what.it_is IS NOT NULL AND pg_has_role(session_user, r.oid, 'MEMBER')
    AND (r.rolname = session_user OR NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles AS me WHERE me.rolname = session_user AND me.rolsuper))
UNION ALL
SELECT format('%I.%I has no row level security that is enabled and forced', $1, relname)
FROM tables WHERE NOT (relrowsecurity AND relforcerowsecurity)
UNION ALL
SELECT format('%I.%I lacks its policy %I', $1, relname, policy)
FROM tables WHERE policy IS NOT NULL AND oid NOT IN (SELECT polrelid FROM ours)
UNION ALL
SELECT format('the policy %I of %I.%I lets %I through, take a role that is none of these',
    polname, $1, relname, coalesce(mine[1], 'public'))
FROM policies
WHERE polpermissive AND (polroles @> ARRAY[0::oid] OR cardinality(mine) > 0)
    AND oid NOT IN (SELECT oid FROM ours)
UNION ALL
SELECT 'the session has lost its setting gesta.tenant: is there a pooler in between?'
WHERE current_setting('gesta.tenant', true) IS DISTINCT FROM $4
