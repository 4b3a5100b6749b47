"""The only I/O loops: each drives a protocol object over the transport and yields changes."""
