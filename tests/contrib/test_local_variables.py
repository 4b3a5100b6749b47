"""Tokens in the local variables of a traceback, which debug pages and error reports print."""

from __future__ import annotations

import re
import traceback
from typing import Any

import pytest

from tests.contrib.django_settings import set_up
from tests.support.settings import TOKEN
from trigger_realtime_sync import ConfigurationError, RealtimeClient
from trigger_realtime_sync.contrib.sse import Relay, shared

pytest.importorskip("django", reason="Django is not installed")
flask = pytest.importorskip("flask", reason="Flask is not installed")

set_up()

from django.test import RequestFactory, override_settings  # noqa: E402
from django.views.debug import ExceptionReporter  # noqa: E402

from trigger_realtime_sync.contrib.django import views  # noqa: E402
from trigger_realtime_sync.contrib.flask import TriggerRealtime  # noqa: E402


def shown(error: BaseException) -> str:
    """The traceback with the local variables of our frames, as reports print them."""
    text = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [
        part for part in text.format() if re.match(r' *File ".*/trigger_realtime_sync/', part)
    ]
    assert frames
    return "".join(frames)


BAD: list[dict[str, Any]] = [{"BASE_URL": "ftp://x"}, {"THROTTLE_IN_MS": -1}, {"HEADERS": 7}]


@pytest.mark.parametrize("bad", BAD)
def test_an_option_that_can_not_work_does_not_show_the_token(bad):
    """Neither in Django's report, settings included, nor in our frames of another's."""
    values = {"ACCESS_TOKEN": TOKEN, **bad}
    request = RequestFactory().get("/")
    view = views.events_view(views._run, permission=views.anyone)
    with override_settings(TRIGGER_REALTIME=values), pytest.raises(ConfigurationError) as raised:
        view(request, run_id="run_1")
    report = ExceptionReporter(request, raised.type, raised.value, raised.tb)
    frames = str([frame["vars"] for frame in report.get_traceback_data()["frames"]][1:])
    assert "base_url" in frames
    assert TOKEN not in frames
    assert TOKEN not in shown(raised.value)


@pytest.mark.parametrize("bad", BAD)
def test_a_flask_app_does_not_show_it_either(bad):
    """In the frames of the extension."""
    app = flask.Flask("shop")
    app.config["TRIGGER_REALTIME_ACCESS_TOKEN"] = TOKEN
    app.config.update({f"TRIGGER_REALTIME_{name}": value for name, value in bad.items()})
    realtime = TriggerRealtime(app)
    with pytest.raises(ConfigurationError) as raised:
        realtime.client_of(app)
    assert TOKEN not in shown(raised.value)


@pytest.mark.parametrize(
    "token", ["tr_pat_0123456789abcdef", "tr_dev_0123456789 abcdef", "tr_dev_0123456789\x00abcdef"]
)
def test_a_token_that_can_not_work_is_not_shown(token):
    """It may be a good one with a blank too many."""
    with pytest.raises(ConfigurationError) as raised:
        RealtimeClient(token)
    assert "0123456789" not in shown(raised.value)


def test_the_token_of_a_shared_source_is_not_shown(client):
    """One user's own, in the options that are kept for subscribing."""
    source = shared(client.subscribe_to_run, "\n", access_token=TOKEN)
    with pytest.raises(ValueError, match="run_id") as raised:
        Relay(source)
    frames = [frame for frame in traceback.walk_tb(raised.tb) if "_source.py" in str(frame[0])]
    assert frames
    assert TOKEN not in str([frame[0].f_locals for frame in frames])
