CREATE INDEX timers_due ON {schema}.timers (due, tenant, name);
