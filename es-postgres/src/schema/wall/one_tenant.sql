-- What a session sees and writes: the rows of the tenant that it has named. It is
-- only looked at: as an equality it would choose the index, or have the planner
-- take the order of the log for that of the tenant's index.
CREATE POLICY one_tenant ON {schema}.{table}
    USING ((tenant = current_setting('gesta.tenant', true)) IS TRUE)
    WITH CHECK ((tenant = current_setting('gesta.tenant', true)) IS TRUE);
