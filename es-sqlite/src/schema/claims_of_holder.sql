CREATE INDEX claims_of_holder ON claims (tenant, holder);
