"""The only loops that read the network: each drives a protocol object over `_http`."""
