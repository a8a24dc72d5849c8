-- The builds of each read model, and which of them answers. The revision is a number
-- of 64 bits without a sign, as its bits are.
CREATE TABLE {schema}.builds (
    model text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    revision bigint NOT NULL,
    serves boolean NOT NULL,
    PRIMARY KEY (model, number)
);
