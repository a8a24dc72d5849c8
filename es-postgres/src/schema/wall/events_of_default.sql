-- As `events_of_tenant`, for the end of the default tenant's log. A range is no
-- equality: see `tenant_horizon`.
CREATE INDEX IF NOT EXISTS events_of_default ON {schema}.events (tenant, position)
WHERE tenant >= 'default' AND tenant <= 'default';
