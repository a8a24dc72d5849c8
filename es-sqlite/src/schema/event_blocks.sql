-- Which kinds of events a block of positions holds: a coarse index that costs a
-- write only when a kind is first seen in a block, and lets a filtered read skip
-- the blocks that hold nothing for it.
CREATE TABLE event_blocks (
    block INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    tenant INTEGER NOT NULL,
    category INTEGER NOT NULL,
    PRIMARY KEY (block, kind, tenant, category)
) WITHOUT ROWID;
