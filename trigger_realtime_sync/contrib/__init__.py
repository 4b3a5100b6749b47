"""Helpers for web and task frameworks. Each needs the extra of its name, `sse` and `page` none."""
