"""Traces: a run's is linked to the caller's, where OpenTelemetry is in use."""

from __future__ import annotations

import subprocess
import sys
import types
from contextlib import contextmanager

import pytest

from trigger_realtime_sync import ConfigurationError, NotFoundError
from trigger_realtime_sync._calls.trace import trace_headers


class Context:
    """As `opentelemetry-api` has it."""

    is_valid = True
    trace_id, span_id, trace_flags = 0xABC, 0xD, 1

    class trace_state:  # noqa: N801
        @staticmethod
        def to_header() -> str:
            return "a=b"


@pytest.fixture
def api(monkeypatch):
    """A stand-in for `opentelemetry.trace`, with a current span."""
    module = types.ModuleType("opentelemetry.trace")
    span = types.SimpleNamespace(get_span_context=lambda: Context)
    module.get_current_span = lambda: span  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return module


def test_the_current_span_goes_along(server, connect, api):
    """With every call."""
    client = connect(server)
    client.trigger("t")
    (request,) = server.requests
    assert request.headers["traceparent"] == f"00-{'0' * 29}abc-{'0' * 15}d-01"
    assert request.headers["tracestate"] == "a=b"


def test_no_span_is_no_header(server, connect, api, monkeypatch):
    """Nor is one that is not valid, or a tracer that fails."""
    monkeypatch.setattr(Context, "is_valid", False)
    assert trace_headers() == {}
    monkeypatch.setattr(Context, "is_valid", True)
    monkeypatch.setattr(Context, "trace_id", "broken")
    assert trace_headers() == {}
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert trace_headers() == {}


class Tracer:
    """Keeps the spans that are made, as an SDK would."""

    def __init__(self):
        self.spans = []

    @contextmanager
    def start_as_current_span(self, name, *, kind, attributes):
        span = types.SimpleNamespace(name=name, kind=kind, attributes=dict(attributes))
        span.set_attribute = span.attributes.__setitem__
        self.spans.append(span)
        yield span


@pytest.fixture
def tracer(api):
    """What the stand-in for OpenTelemetry hands out."""
    tracer = Tracer()
    api.SpanKind = types.SimpleNamespace(CLIENT="client")
    api.get_tracer = lambda name: tracer
    return tracer


def test_a_call_is_a_span_where_that_is_asked_for(server, connect, tracer):
    """One for all attempts, under a name without ids; and what failed is told."""
    connect(server).trigger("t")
    assert tracer.spans == []
    client = connect(server, telemetry=True)
    server.fail_next(match="trigger", status=503)
    handle = client.trigger("my-task", idempotency_key="k")
    (span,) = tracer.spans
    assert (span.name, span.kind) == ("POST /api/v1/tasks/{id}/trigger", "client")
    assert span.attributes == {
        "http.request.method": "POST",
        "url.template": "/api/v1/tasks/{id}/trigger",
        "server.address": "127.0.0.1",
    }
    handle.cancel()
    with pytest.raises(NotFoundError):
        client.runs.retrieve("run_unknown")
    assert [one.name for one in tracer.spans[1:]] == [
        "POST /api/v2/runs/{id}/cancel",
        "GET /api/v3/runs/{id}",
    ]
    assert tracer.spans[-1].attributes["error.type"] == "NotFoundError"


def test_no_span_tells_a_secret(server, connect, tracer):
    """Neither the token nor the presigned URL of a large payload."""
    server.settings.object_store = True
    client = connect(server, telemetry=True)
    client.trigger("t", "x" * 600_000)
    client.wait_tokens.create()
    told = repr([(one.name, one.attributes) for one in tracer.spans])
    # The upload, of which neither path nor host is told.
    (upload,) = [one for one in tracer.spans if one.name == "PUT"]
    assert upload.attributes == {"http.request.method": "PUT"}
    assert "presigned" not in told
    assert "tr_" not in told


def test_spans_need_opentelemetry(server, connect, monkeypatch):
    """Which is told when the client is made; and what is no bool is told as well."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    with pytest.raises(ConfigurationError, match="pip install opentelemetry-api"):
        connect(server, telemetry=True)
    with pytest.raises(ConfigurationError, match="telemetry"):
        connect(server, telemetry="yes")


def test_it_is_never_imported_by_us():
    """Whether it is installed or not."""
    script = (
        "import sys\n"
        "from trigger_realtime_sync._calls.trace import trace_headers\n"
        "trace_headers()\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    path = [one for one in sys.path if one]
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{script}"],
        check=True,
        timeout=60,
    )
