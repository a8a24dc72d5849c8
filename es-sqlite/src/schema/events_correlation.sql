CREATE INDEX events_correlation ON events (correlation, position)
WHERE correlation IS NOT NULL;
