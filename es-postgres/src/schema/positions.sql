-- Where positions come from. Zero is drawn at once, so that `last_value` is a
-- position that nobody will ever get again. A cache would break the order. The
-- locks of `horizon` have room for 48 bits.
CREATE SEQUENCE {schema}.positions AS bigint
    MINVALUE 0 MAXVALUE 281474976710655 START 0 CACHE 1;
SELECT nextval('{schema}.positions');
