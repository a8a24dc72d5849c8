CREATE TABLE event_correlations (
    tenant INTEGER NOT NULL,
    correlation TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tenant, correlation, position)
) WITHOUT ROWID;
