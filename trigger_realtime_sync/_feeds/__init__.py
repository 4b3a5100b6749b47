"""The only loops that read the network: each drives an object of `_wire` over `_http`."""
