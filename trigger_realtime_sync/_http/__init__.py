"""Requests that can be cut off while they block, and answers read to a proven end."""
