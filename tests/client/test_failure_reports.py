"""What ends a subscription is reported to OpenTelemetry and Sentry, where that is asked for."""

from __future__ import annotations

import sys
import types

import pytest

from tests.support.settings import TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync import ConfigurationError, NotFoundError


class Span:
    def __init__(self, name, attributes):
        self.name, self.attributes = name, attributes
        self.errors, self.status, self.ended = [], None, False

    def record_exception(self, error):
        self.errors.append(error)

    def set_status(self, status):
        self.status = status

    def end(self):
        self.ended = True


@pytest.fixture
def spans(monkeypatch):
    """The spans that are made with a stand-in for `opentelemetry.trace`."""
    made: list[Span] = []

    def start_span(name, *, attributes):
        made.append(Span(name, attributes))
        return made[-1]

    module = types.ModuleType("opentelemetry.trace")
    module.get_tracer = lambda name: types.SimpleNamespace(start_span=start_span)  # type: ignore[attr-defined]
    module.Status = lambda code: code  # type: ignore[attr-defined]
    module.StatusCode = types.SimpleNamespace(ERROR="error")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opentelemetry", types.ModuleType("opentelemetry"))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", module)
    return made


@pytest.fixture
def events(monkeypatch):
    """What a stand-in for `sentry_sdk`, which was initialised, is told: errors and their tags."""
    told: list[tuple[Exception, dict[str, str]]] = []

    class Scope:
        def __enter__(self):
            self.tags = {}
            return self

        def __exit__(self, *exc_info):
            pass

        def set_tag(self, key, value):
            self.tags[key] = value

        def capture_exception(self, error):
            told.append((error, self.tags))

    module = types.ModuleType("sentry_sdk")
    module.is_initialized = lambda: True  # type: ignore[attr-defined]
    module.new_scope = Scope  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentry_sdk", module)
    return told


def fail(client, **options):
    """Follow a run that does not exist, and return its subscription and its error."""
    subscription = client.subscribe_to_run("run_unknown", **options)
    with pytest.raises(NotFoundError) as caught:
        subscription.wait_for_completion(timeout=10)
    return subscription, caught.value


def test_a_terminal_error_is_a_span_that_failed(server, connect, spans):
    """One for each subscription, with its id and the error, before `on_error` returns."""
    told = []
    client = connect(server, telemetry=True)
    subscription, error = fail(client, on_error=lambda error: told.append(len(spans)))
    eventually(lambda: told)
    assert told == [1]
    (span,) = spans
    assert (span.name, span.errors, span.status) == ("subscription failed", [error], "error")
    assert span.ended
    assert span.attributes["trigger.subscription_id"] == subscription.id
    assert span.attributes["error.type"] == "NotFoundError"
    assert TOKEN not in repr(span.attributes)


def test_it_is_an_event_of_sentry(server, connect, spans, events):
    """With the same details as tags."""
    subscription, error = fail(connect(server, telemetry=True))
    eventually(lambda: events)
    ((reported, tags),) = events
    assert reported is error
    assert tags["trigger.subscription_id"] == subscription.id
    assert tags["error.type"] == "NotFoundError"


def test_nothing_is_reported_unasked(server, connect, spans, events):
    """Whatever is installed."""
    told = []
    fail(connect(server), on_error=told.append)
    eventually(lambda: told)
    assert (spans, events) == ([], [])


def test_other_errors_are_not_reported(server, connect, spans, events):
    """A callback that raises is in the log, and ends nothing."""
    told = []

    def on_update(run):
        raise ValueError("mine")

    client = connect(server, telemetry=True)
    client.subscribe_to_run(server.create_run("t"), on_update=on_update, on_error=told.append)
    eventually(lambda: told)
    assert (spans, events) == ([], [])


def test_a_report_that_fails_is_logged(server, connect, spans, events, monkeypatch, caplog):
    """And neither keeps the other from being made, nor `on_error` from being called."""

    def broken(name):
        raise RuntimeError("exporter")

    monkeypatch.setattr(sys.modules["opentelemetry.trace"], "get_tracer", lambda name: None)
    client = connect(server, telemetry=True)
    monkeypatch.setattr(sys.modules["opentelemetry.trace"], "get_tracer", broken)
    told = []
    subscription, _ = fail(client, on_error=told.append)
    eventually(lambda: told)
    assert len(events) == 1
    (record,) = [one for one in caplog.records if "could not be reported" in one.getMessage()]
    assert record.subscription_ids == (subscription.id,)


def test_sentry_alone_is_enough(server, connect, events, monkeypatch):
    """Where OpenTelemetry is not installed."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    fail(connect(server, telemetry=True))
    eventually(lambda: events)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(ConfigurationError, match="OpenTelemetry or Sentry"):
        connect(server, telemetry=True)
