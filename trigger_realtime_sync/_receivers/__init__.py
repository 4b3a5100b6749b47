"""One subscriber: what it was told, what waits for it, and the registry of all of them."""
