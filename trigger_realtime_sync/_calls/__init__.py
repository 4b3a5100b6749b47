"""Requests with an end: bounded by a deadline, and sent again only where that does no harm."""
