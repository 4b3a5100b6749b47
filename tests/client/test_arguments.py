"""Arguments that can't work are refused at the call, by their names."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

import certifi
import pytest

from tests.support.raw import hold, reply
from tests.support.settings import ENVIRONMENT
from tests.support.shape import answer, done, stored_output
from tests.support.waiting import eventually
from trigger_realtime_sync import ConfigurationError, RealtimeClient, RetryPolicy, Task, Timeouts

NAN, INFINITE = float("nan"), float("inf")
HUGE = 10**400

OF_THE_CLIENT: list[tuple[str, Any]] = [
    *(("access_token", bad) for bad in ("", "  ", 7, b"tr", "tr a", "tr\u00e9", "tr\r\nX: y")),
    *(("base_url", bad) for bad in ("", "api.trigger.dev", "ftp://x", 7, b"http://x", "http://")),
    *(("base_url", f"http://{bad}") for bad in ("h/?", "h/#", "h/a/../b", "h/./b", "[::1")),
    *(("base_url", f"http://{bad}") for bad in ("x:99999", "x:0", "user:pw@x")),
    *(("base_url", f"https://{bad}") for bad in ("x?a=b", "x#a", "x/ y")),
    *(("throttle_in_ms", bad) for bad in (-1, NAN, INFINITE, "5", True, HUGE, 1e300)),
    *(("preview_branch", bad) for bad in ("", " ", 7, "a\nb", "\u00e9")),
    *(("retry", bad) for bad in (3, None, "for ever")),
    *(("timeouts", bad) for bad in (3, None, (1, 2))),
    *(("max_cached", bad) for bad in (-1, 1.5, "1", True, None)),
    *(("stream_patience", bad) for bad in (-1, NAN, INFINITE, "5", True, None, HUGE)),
    *(
        ("headers", bad)
        for bad in ({"a b": "c"}, {"a": "b\r\nc: d"}, {"a": 1}, {1: "a"}, {"": "x"})
    ),
]


@pytest.mark.parametrize(("name", "bad"), OF_THE_CLIENT)
def test_of_the_client(name, bad):
    """A `ConfigurationError`, which is a ValueError, that names it."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        RealtimeClient(**{"access_token": "tr_x", name: bad})
    assert isinstance(caught.value, ValueError)
    if name in ("access_token", "headers"):
        assert "tr" not in str(caught.value).replace("string", "").replace("control", "")
    assert "user:pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "bad"),
    [
        *((RetryPolicy, "initial_delay", bad) for bad in (0, -1, NAN, INFINITE, "1", None, HUGE)),
        *((RetryPolicy, "max_delay", bad) for bad in (0, NAN, INFINITE, 0.1, 1e300)),
        *((RetryPolicy, "multiplier", bad) for bad in (0.5, -1, NAN, INFINITE, "2", None)),
        *((RetryPolicy, "max_retries", bad) for bad in (-1, 1.5, True, "3")),
        *((Timeouts, "connect", bad) for bad in (0, -1, NAN, INFINITE, "1", None, 1e300, HUGE)),
        *((Timeouts, "read", bad) for bad in (0, -1, NAN, INFINITE, "1", None, 1e300, HUGE)),
    ],
)
def test_of_the_policies(kind, name, bad):
    """Seconds are finite, and not more than a year."""
    with pytest.raises(ConfigurationError, match=name):
        kind(**{name: bad})


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_of_the_environment(name, monkeypatch):
    """The variable is named."""
    monkeypatch.setenv(name, "not a\ngood one")
    with (
        pytest.raises(ConfigurationError, match=name),
        RealtimeClient() as client,
    ):
        client.subscribe_to_run("run_1")


@pytest.mark.parametrize(
    ("given", "variable", "sent"),
    [
        ("mine", "other", "mine"),
        (None, "feature/a b", "feature/a b"),
        (None, " mine\n", "mine"),
        (None, "", None),
        (None, "  ", None),
        (None, None, None),
    ],
)
def test_the_preview_branch(given, variable, sent, raw, connect, monkeypatch):
    """The argument, else `TRIGGER_PREVIEW_BRANCH`: sent with every request to the API."""
    if variable is not None:
        monkeypatch.setenv("TRIGGER_PREVIEW_BRANCH", variable)
    server = raw(stored_output(reply(200, {}, "7")))
    client = connect(server, preview_branch=given)
    # It was read when the client was made.
    monkeypatch.setenv("TRIGGER_PREVIEW_BRANCH", "later")
    assert client.wait_for_completion("run_1", timeout=5).output == 7
    told = {one.path.split("/")[1]: one.headers.get("x-trigger-branch") for one in server.exchanges}
    assert told == {"realtime": sent, "api": sent, "store": None}


BAD_IDS = ["", "  ", ".", "..", "a\nb", "a\x00", "\ud800", 7, None, b"run"]
# A tag goes into the query, where dots mean nothing.
BAD_TAGS = [bad for bad in BAD_IDS if bad not in (".", "..")]

OF_A_SUBSCRIPTION: list[tuple[str, Any, dict[str, Any], str]] = [
    *(("run", bad, {}, "run_id") for bad in BAD_IDS),
    *(("batch", bad, {}, "batch_id") for bad in BAD_IDS),
    *(("tags", bad, {}, "tag") for bad in [*BAD_TAGS, [], ["a", ""], "a,b", 'a"b', "a\\b", [7]]),
    *(
        ("tags", "t", {"created_at": bad}, "created_at")
        for bad in ("", "1", "1y", "-1h", "1h ", "\u0661h", 3, timedelta(0), timedelta(-1))
    ),
    *(("run", "r", {"id": bad}, "id") for bad in ("", 7, "a\n")),
    *(
        ("run", "r", {"skip_columns": bad}, "skip_columns")
        for bad in (["id"], "status", ["a,b"], [7], ["created_at"], 7)
    ),
    *(("run", "r", {"throttle_in_ms": bad}, "throttle_in_ms") for bad in (-1, NAN, "5", HUGE)),
    *(("run", "r", {"base_url": bad}, "base_url") for bad in ("x", "ftp://x", 7)),
    *(("run", "r", {"access_token": bad}, "access_token") for bad in ("", 7, "a b")),
    *(("run", "r", {name: 7}, name) for name in ("on_update", "on_error", "on_complete", "task")),
    *(
        (kind, "r", {name: bad}, name)
        for kind, name in (
            ("run", "enabled"),
            ("tags", "enabled"),
            ("batch", "enabled"),
            ("run", "stop_on_completion"),
            ("streams", "stop_on_completion"),
            ("stream", "stop_on_completion"),
            ("stream", "from_latest"),
        )
        for bad in ("no", 0, 1, None)
    ),
    ("tags", "t", {"tasks": [7]}, "task"),
    ("tags", "t", {"tasks": 7}, "tasks"),
    ("batch", "b", {"tasks": Task("a")}, "tasks"),
]


@pytest.mark.parametrize(("kind", "subject", "options", "name"), OF_A_SUBSCRIPTION)
def test_of_a_subscription(kind, subject, options, name):
    """A ValueError that names it, at the call, and nothing is left behind."""
    with RealtimeClient("tr_x", base_url="http://127.0.0.1:9") as client:
        subscribe: Any = {
            "run": client.subscribe_to_run,
            "batch": client.subscribe_to_batch,
            "tags": client.subscribe_to_runs_with_tag,
            "streams": client.subscribe_to_run_with_streams,
            "stream": lambda run_id, **options: client.subscribe_to_stream(run_id, "s", **options),
        }[kind]
        with pytest.raises(ValueError, match=name):
            subscribe(subject, **options)
        assert dict(client.subscriptions) == {}


def test_policies_take_their_fields_in_the_documented_order():
    """By position or by name: they are the same."""
    by_name = RetryPolicy(initial_delay=0.1, max_delay=2.0, multiplier=3.0, max_retries=4)
    assert RetryPolicy(0.1, 2.0, 3.0, 4) == by_name
    assert Timeouts(1.0, 30.0) == Timeouts(connect=1.0, read=30.0)


@pytest.mark.parametrize("bad", [-1, NAN, "5", True, [1]])
def test_of_waiting(bad):
    """Seconds, or None."""
    with RealtimeClient("tr_x", base_url="http://127.0.0.1:9") as client:
        subscription = client.subscribe_to_run("r", enabled=False)
        for wait in (
            subscription.wait_for_completion,
            subscription.result,
            subscription.updates,
        ):
            with pytest.raises(ValueError, match="timeout"):
                wait(bad)
        with pytest.raises(ValueError, match="timeout"):
            client.wait_for_completion("r", timeout=bad)
        with pytest.raises(ValueError, match="new_id"):
            subscription.change_id("")


def test_ids_and_tags_are_encoded(raw, connect):
    """Any printable text arrives as it was."""
    server = raw(hold())
    client = connect(server)
    client.subscribe_to_run("a/b?c#d %é")
    client.subscribe_to_batch("x/../y")
    client.subscribe_to_runs_with_tag(["a&b=c", "d+e f%"], created_at=timedelta(minutes=90))
    eventually(lambda: len(server.exchanges) == 3)
    targets = {exchange.target.split("?")[0] for exchange in server.exchanges}
    assert targets == {
        "/realtime/v1/runs/a%2Fb%3Fc%23d%20%25%C3%A9",
        "/realtime/v1/batches/x%2F..%2Fy",
        "/realtime/v1/runs",
    }
    queries = [one.query for one in server.exchanges if "tags" in one.query]
    assert queries[0]["tags"] == "a&b=c,d+e f%"
    assert queries[0]["createdAt"] == "5400s"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"headers": 7}, "headers must be a mapping, not int"),
        ({"headers": ["a"]}, "headers must be a mapping, not list"),
        ({"headers": {"X": " leading"}}, "headers: the value of X"),
        ({"headers": {"X": "漢"}}, "headers: the value of X"),
        ({"proxies": 7}, "proxies must be a mapping, not int"),
        ({"proxies": {"http": 5}}, "proxies: what stands for http"),
        ({"proxies": {5: "http://x"}}, "proxies: 5 is neither"),
    ],
)
def test_headers_and_proxies_that_cannot_work(options, match):
    """Named at the call, not by a thread later."""
    with pytest.raises(ConfigurationError, match=match):
        RealtimeClient("tr_x", **options)


def test_no_proxy_whatever_the_environment_says():
    """None as the proxy of a scheme is what requests takes for that."""
    with RealtimeClient("tr_x", proxies={"https": None}) as client:  # type: ignore[dict-item]
        assert client.subscriptions == {}


@pytest.mark.parametrize("verify", ["/no/such/path", 7, None, b"x", object()])
def test_what_verifies_nothing(verify):
    """It is a bool, a path that exists, or a context."""
    with pytest.raises(ConfigurationError, match=r"verify must be .* or an ssl\.SSLContext"):
        RealtimeClient("tr_x", verify=verify)


def test_a_file_without_certificates(tmp_path):
    """No retry can heal that: it is said at the call."""
    path = tmp_path / "no-certificate.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigurationError, match="verify: the certificates of"):
        RealtimeClient("tr_x", verify=str(path))


def test_a_file_of_certificates_that_has_gone(tmp_path):
    """By the time that it is needed: no retry can heal that either."""
    path = tmp_path / "authority.pem"
    shutil.copy(certifi.where(), path)
    with RealtimeClient("tr_x", base_url="https://127.0.0.1:9", verify=str(path)) as client:
        path.unlink()
        with pytest.raises(ConfigurationError, match="verify: the certificates can't be read"):
            client.wait_for_completion("run_1", timeout=10)


@pytest.mark.parametrize("path", ["//a", "//:x/", "//other.example:99999/x"])
def test_a_base_url_whose_path_looks_like_a_host(path, raw, connect):
    """It is a path all the same: the server is asked, and no other."""
    server = raw(answer(done()))
    client = connect(server.url + path)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert "/realtime/v1/runs/run_1?" in server.exchanges[-1].target
