CREATE INDEX timers_wake ON timers_of_owners (owner, wake);
