"""Measures this client beside the others: see `python -m benchmarks --help`."""
