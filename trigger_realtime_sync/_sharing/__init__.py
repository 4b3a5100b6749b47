"""One reader for a whole fleet: a leader writes a log, and everybody follows it."""
