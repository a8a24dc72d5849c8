-- Of two writers at one version only one can win.
CREATE UNIQUE INDEX events_stream ON events (stream, version);
