CREATE INDEX cache_tags_until ON {schema}.cache_tags (until);
