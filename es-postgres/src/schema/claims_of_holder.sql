CREATE INDEX claims_of_holder ON {schema}.claims (tenant, holder);
