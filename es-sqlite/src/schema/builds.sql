-- Each build of a read model: which code makes it, and whether it answers.
CREATE TABLE builds (
    model TEXT NOT NULL,
    number INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    serves INTEGER NOT NULL,
    PRIMARY KEY (model, number)
) WITHOUT ROWID;
