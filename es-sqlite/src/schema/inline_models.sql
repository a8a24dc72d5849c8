-- The types of the events of models whose rows change, or once changed, with each append.
CREATE TABLE inline_models (
    model TEXT NOT NULL PRIMARY KEY,
    types TEXT NOT NULL
) WITHOUT ROWID;
