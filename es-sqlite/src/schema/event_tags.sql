CREATE TABLE event_tags (
    tenant INTEGER NOT NULL,
    tag TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tenant, tag, position)
) WITHOUT ROWID;
