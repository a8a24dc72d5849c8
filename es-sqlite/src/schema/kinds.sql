-- What an event's payload is: its type, the version of its schema, its form.
CREATE TABLE kinds (
    id INTEGER PRIMARY KEY,
    event_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    UNIQUE (event_type, schema_version, content_type)
);
