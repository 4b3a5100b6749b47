"""One subscriber: what it is notified of, what waits for it, and the registry of all of them."""
