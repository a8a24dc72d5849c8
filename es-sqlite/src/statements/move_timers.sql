INSERT INTO timers_of_owners (tenant, owner, name, due, wake, payload)
    SELECT tenant, 'default', name, due, due, payload FROM timers;
DROP TABLE timers;
