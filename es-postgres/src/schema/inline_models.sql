-- Which types of events concern a read model that was kept with each append at some time;
-- whether it is now, its parts tell: see `is_inline`.
--
-- The row without a name changes with every hand-over: an append whose snapshot is older
-- cannot lock it, and so does not pass by a model that it does not see.
CREATE TABLE {schema}.inline_models (
    model text COLLATE "C" PRIMARY KEY,
    types text[] COLLATE "C" NOT NULL
);
INSERT INTO {schema}.inline_models VALUES ('', '{}');
