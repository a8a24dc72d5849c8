-- Where the events of a stream stand: a run for each write, which holds the
-- versions from `version` on at the positions from `position` on. Of two writers
-- at one version only one can win.
CREATE TABLE stream_runs (
    stream INTEGER NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (stream, version)
) WITHOUT ROWID;
