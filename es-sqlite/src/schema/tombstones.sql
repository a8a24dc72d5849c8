-- The streams that have ended for ever.
CREATE TABLE tombstones (
    stream INTEGER PRIMARY KEY
);
