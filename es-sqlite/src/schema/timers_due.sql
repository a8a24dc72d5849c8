CREATE INDEX timers_due ON timers (due);
