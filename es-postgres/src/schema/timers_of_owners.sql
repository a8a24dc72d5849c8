-- Not by an UPDATE: the wall between tenants would hide their rows from it.
ALTER TABLE {schema}.timers
    ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT 'default',
    ADD COLUMN wake timestamptz;
ALTER TABLE {schema}.timers
    ALTER COLUMN owner DROP DEFAULT,
    ALTER COLUMN wake TYPE timestamptz USING due,
    ALTER COLUMN wake SET NOT NULL,
    DROP CONSTRAINT timers_pkey,
    ADD PRIMARY KEY (tenant, owner, name);
DROP INDEX {schema}.timers_due;
CREATE INDEX timers_wake ON {schema}.timers (owner, wake);
