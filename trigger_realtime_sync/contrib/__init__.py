"""Helpers for web and task frameworks. Each needs the extra of its name; `asgi`, `page` and `sse`
need none."""
