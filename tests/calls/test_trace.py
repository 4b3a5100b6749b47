"""Traces: a run's is linked to the caller's, where OpenTelemetry is in use."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

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
