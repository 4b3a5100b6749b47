"""A span for each call, in OpenTelemetry, for those who ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .request import Request

# What the segments of paths are that are no id: names of spans must be few.
_WORDS = frozenset(
    (
        *("api", "v1", "v2", "v3", "realtime"),
        *("auth", "jwt", "claims", "public-tokens"),
        *("tasks", "trigger", "batches", "items", "packets"),
        *("runs", "cancel", "replay", "reschedule", "tags", "metadata"),
        *("idempotencyKeys", "reset", "streams", "input"),
        *("waitpoints", "tokens", "complete", "sessions", "close"),
    )
)


class Spans:
    """Makes the spans of a client's calls: one for all attempts. Safe from any thread.

    Raises:
        ConfigurationError: `opentelemetry-api` is not installed.
    """

    def __init__(self) -> None:
        try:
            self._api = import_module("opentelemetry.trace")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "opentelemetry":
                raise
            raise ConfigurationError(
                "telemetry=True needs OpenTelemetry or Sentry: pip install opentelemetry-api"
            ) from None
        self._tracer = self._api.get_tracer("trigger_realtime_sync")

    @contextmanager
    def around(self, request: Request, base_url: str) -> Iterator[None]:
        """Make the block a span, which the headers of its request name as the caller's."""
        attributes: dict[str, Any] = {"http.request.method": request.method}
        name = request.method
        # Of a presigned URL nothing is told: it is as good as a password.
        if request.presigned_url is None:
            template = _template(request.path)
            name = f"{request.method} {template}"
            attributes["url.template"] = template
            attributes["server.address"] = urlsplit(base_url).hostname or ""
        kind = self._api.SpanKind.CLIENT
        with self._tracer.start_as_current_span(name, kind=kind, attributes=attributes) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                raise


def _template(path: str) -> str:
    return "/".join(one if one in _WORDS or not one else "{id}" for one in path.split("/"))
