-- One build of a model answers.
CREATE UNIQUE INDEX builds_serving ON builds (model) WHERE serves = 1;
