CREATE INDEX inbox_by_age ON {schema}.inbox (received_at);
