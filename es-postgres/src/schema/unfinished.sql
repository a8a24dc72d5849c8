-- An append in a transaction of the caller whose rows are still to come. No model has the
-- name that is inserted, which differs each time, so that the transaction cannot be
-- committed before it is deleted.
CREATE TABLE {schema}.unfinished (
    append text COLLATE "C" NOT NULL,
    CONSTRAINT append_lacks_its_rows FOREIGN KEY (append) REFERENCES {schema}.inline_models
        DEFERRABLE INITIALLY DEFERRED
);
