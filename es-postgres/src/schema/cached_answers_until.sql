CREATE INDEX cached_answers_until ON {schema}.cached_answers (until);
