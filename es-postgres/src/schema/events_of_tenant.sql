-- Who has one tenant, the default one, pays nothing for those who have many.
CREATE INDEX events_of_tenant ON {schema}.events (tenant, position) WHERE tenant <> 'default';
