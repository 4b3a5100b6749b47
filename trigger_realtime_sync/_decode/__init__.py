"""Rows and packets to values, lazily. Pure."""
