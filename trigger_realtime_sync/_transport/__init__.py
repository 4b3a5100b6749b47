"""HTTP: connections that can be interrupted, status → error, tokens, backoff."""
