-- One build of a model answers. Who asks for rows looks here.
CREATE UNIQUE INDEX builds_that_serve ON {schema}.builds (model) INCLUDE (number) WHERE serves;
