"""How each error decides on the next attempt (docs/protocol.md, section 5)."""

from __future__ import annotations

import email.utils
import json
import random
from typing import Any

import pytest

from trigger_realtime_sync import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    UnprocessableEntityError,
)
from trigger_realtime_sync._http.retry import (
    LONGEST_UNDATED_WAIT,
    LONGEST_WAIT,
    NOT_FOUND_SECONDS,
    UNREADABLE_LIMIT,
    Backoff,
    Restarts,
    Rotated,
    UnreadableAnswer,
    asked_wait,
    error_of,
    is_rotation,
)

NOW = 1_800_000_000.0


class Most(random.Random):
    """The longest wait that the jitter allows."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Waits(Backoff):
    """A back-off with one clock for everything."""

    def wait_after(self, error: Any, now: float, today: float = 0.0) -> float:
        return super().wait_after(error, now, now)


def backoff(**policy: Any) -> Waits:
    return Waits(RetryPolicy(**policy), Most())


def restarts(**policy: Any) -> Restarts:
    return Restarts(RetryPolicy(**policy), Most())


def answer(status: int, body: str = "", **headers: str) -> ApiError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_of(status, named, body, "run run_1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError), (401, AuthenticationError), (403, PermissionDeniedError),
        (404, NotFoundError), (409, ConflictError), (422, UnprocessableEntityError),
        (429, RateLimitError), (500, ServerError), (503, ServerError), (524, ServerError),
        (418, ApiError), (302, ApiError),
    ],
)  # fmt: skip
def test_a_status_has_its_error(status, kind):
    """Texts vary, so the status decides."""
    error = answer(status)
    assert type(error) is kind
    assert (error.status, str(error)) == (status, f"run run_1: HTTP {status}")


@pytest.mark.parametrize(
    ("body", "reason", "code"),
    [
        ('{"error":"No","code":"unauthorized","param":"access_token"}', "No", "unauthorized"),
        ('{"error":"Query Error","details":[]}', "Query Error", None),
        ('{"message":"Not today"}', "Not today", None),
        (
            '{"title":"Rate Limit","detail":"Exceeded 10 per minute"}',
            "Exceeded 10 per minute",
            None,
        ),
    ],
)
def test_the_reason_comes_from_the_body(body, reason, code):
    """Every known kind of body has one."""
    error = answer(403, body)
    assert str(error) == f"run run_1: HTTP 403: {reason}"
    assert (error.code, error.body) == (code, body)


@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", "7", '{"error": {}}', "[" * 10**5])
def test_a_body_without_a_reason_is_no_harm(body):
    """An error page, or nothing, or something hostile."""
    assert str(answer(502, body)) == "run run_1: HTTP 502"


def test_waits_grow_to_a_limit():
    """They grow exponentially; a success starts again."""
    waits = backoff(initial_delay=1, max_delay=5, multiplier=2)
    lost = ApiConnectionError("lost")
    assert [waits.wait_after(lost, NOW) for _ in range(5)] == [1, 2, 4, 5, 5]
    waits.succeeded()
    assert waits.wait_after(lost, NOW) == 1


def test_waits_have_full_jitter():
    """They are spread from 0 to the limit, so that clients do not come back together."""
    waits = Waits(RetryPolicy(initial_delay=8, max_delay=8), random.Random(1))
    seen = [waits.wait_after(ApiConnectionError("lost"), NOW) for _ in range(200)]
    assert min(seen) < 1 < 7 < max(seen) <= 8


def test_a_thousand_failures_are_no_overflow():
    """An outage may last for days."""
    waits = backoff(multiplier=1e6, max_delay=30)
    assert {waits.wait_after(ApiConnectionError("lost"), NOW) for _ in range(1000)} == {0.5, 30}


def test_max_retries():
    """After that many consecutive retries the last error is raised."""
    waits = backoff(max_retries=2)
    waits.wait_after(ApiConnectionError("1"), NOW)
    waits.wait_after(answer(503), NOW)
    last = ApiConnectionError("3")
    with pytest.raises(ApiConnectionError) as caught:
        waits.wait_after(last, NOW)
    assert caught.value is last


@pytest.mark.parametrize("status", [400, 401, 403, 422, 404, 410, 302])
def test_errors_that_waiting_does_not_cure_are_raised(status):
    """The request is invalid or refused."""
    with pytest.raises(ApiError):
        backoff().wait_after(answer(status), NOW)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 524, 408, 425])
def test_transient_errors_are_retried(status):
    """Without end, unless `max_retries` is set."""
    waits = backoff()
    for _ in range(100):
        waits.wait_after(answer(status), NOW)


def test_a_configuration_error_is_raised():
    """For example that of a token function that fails."""
    with pytest.raises(ConfigurationError):
        backoff().wait_after(ConfigurationError("no"), NOW)


def test_not_found_is_retried_for_a_moment_where_the_server_says_so():
    """A new batch may not be on the replica yet."""
    waits = backoff()
    missing = answer(404, x_should_retry="true")
    waits.wait_after(missing, NOW)
    waits.wait_after(missing, NOW + NOT_FOUND_SECONDS - 0.1)
    with pytest.raises(NotFoundError):
        waits.wait_after(missing, NOW + NOT_FOUND_SECONDS)
    with pytest.raises(NotFoundError):
        backoff().wait_after(answer(404, x_should_retry="false"), NOW)


def test_retry_after_is_a_floor():
    """It is given in seconds or as a date; jitter is added to it."""
    assert backoff(initial_delay=1).wait_after(answer(503, retry_after="7"), NOW) == 8
    date = email.utils.formatdate(NOW + 9, usegmt=True)
    assert asked_wait({"retry-after": date}, NOW) == pytest.approx(9, abs=1)


def test_rate_limits_may_say_when_they_end():
    """The API does, in epoch milliseconds; realtime endpoints don't, so waits begin at 1 s."""
    reset = {"x-ratelimit-reset": str(int((NOW + 4) * 1000))}
    assert asked_wait(reset, NOW) == pytest.approx(4)
    waits = backoff(initial_delay=0.1, max_delay=60)
    assert [waits.wait_after(answer(429), NOW) for _ in range(3)] == [2, 3, 5]


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "-inf"])
def test_a_broken_header_asks_for_nothing(value):
    """The usual backoff applies."""
    assert asked_wait({"retry-after": value, "x-ratelimit-reset": value}, NOW) is None


@pytest.mark.parametrize(("value", "wait"), [("-5", 0.0), ("1e300", LONGEST_WAIT)])
def test_an_absurd_header_is_bounded(value, wait):
    """No server means a wait of years."""
    assert asked_wait({"retry-after": value}, NOW) == wait


def test_one_restart_a_minute_is_no_failure():
    """It happens at once, whatever `max_retries` is."""
    waits = restarts(max_retries=0)
    for minute in range(5):
        assert waits.wait(Rotated("409"), NOW + 61 * minute, cached=False) == 0


def test_restarts_in_a_row_are_backed_off_from():
    """Two within a minute of each other are, whatever came in between, up to date or not. The time
    that was waited does not count."""
    waits = restarts(initial_delay=1, max_delay=64)
    now, seen = NOW, []
    for _ in range(9):
        seen.append(waits.wait(Rotated("409"), now, cached=False))
        waits.up_to_date()
        now += seen[-1] + 59
    assert seen == [0, 2, 4, 8, 16, 32, 64, 64, 64]
    assert waits.wait(Rotated("409"), now + 62, cached=False) == 0


def test_restarts_are_no_less_than_two_seconds_apart():
    """Each makes a new shape at the server; `max_delay` is a limit to that as well."""
    waits = Restarts(RetryPolicy(initial_delay=0.001), random.Random(1))
    seen = [waits.wait(Rotated("409"), NOW, cached=False) for _ in range(5)]
    assert seen == [0, 2, 2, 2, 2]
    assert restarts(initial_delay=0.1, max_delay=0.5).floor == 0.5


def test_a_cache_is_asked_with_the_longest_pauses():
    """Three more times with usual ones: then it will not change its mind soon."""
    waits = restarts(initial_delay=1, max_delay=30)
    assert waits.wait(Rotated("409"), NOW, cached=False) == 0
    assert [waits.wait(Rotated("old"), NOW, cached=True) for _ in range(5)] == [2, 4, 8, 30, 30]
    waits.up_to_date()
    assert waits.wait(Rotated("old"), NOW + 200, cached=True) == 0


def test_restarts_use_up_max_retries():
    """They are failures when they come in a row."""
    waits = restarts(max_retries=1)
    waits.wait(Rotated("1"), NOW, cached=False)
    waits.wait(Rotated("2"), NOW, cached=False)
    with pytest.raises(Rotated, match="3"):
        waits.wait(Rotated("3"), NOW, cached=False)


def test_a_log_is_stale_after_a_minute_and_said_so_every_hour():
    """Counted from the first restart since it was up to date."""
    waits = restarts()
    assert not waits.is_stale(NOW)
    waits.wait(Rotated("409"), NOW, cached=False)
    assert not waits.is_stale(NOW + 59.9)
    assert waits.is_stale(NOW + 60)
    assert not waits.is_stale(NOW + 3659)
    assert waits.is_stale(NOW + 3660)
    waits.up_to_date()
    assert not waits.is_stale(NOW + 9999)
    waits.wait(Rotated("409"), NOW + 9999, cached=False)
    assert not waits.is_stale(NOW + 9999)
    assert waits.is_stale(NOW + 10059)


def test_a_point_in_time_is_measured_by_the_clock_of_the_answer():
    """Ours may be wrong by hours, and then only the answer tells how long the wait is."""
    date = email.utils.formatdate(NOW + 7200, usegmt=True)
    for reset in (str(int((NOW + 7205) * 1000)), str(int(NOW + 7205))):
        assert asked_wait({"date": date, "x-ratelimit-reset": reset}, NOW) == pytest.approx(5)
    later = email.utils.formatdate(NOW + 7209, usegmt=True)
    assert asked_wait({"date": date, "retry-after": later}, NOW) == pytest.approx(9)
    assert asked_wait({"date": date, "retry-after": "7"}, NOW) == 7


def test_without_a_clock_of_the_answer_a_point_in_time_is_not_far():
    """Our own clock may be wrong, so that it must not make us wait for an hour."""
    reset = {"x-ratelimit-reset": str(int((NOW + 1800) * 1000))}
    assert asked_wait(reset, NOW) == LONGEST_UNDATED_WAIT
    assert asked_wait({**reset, "date": "yesterday"}, NOW) == LONGEST_UNDATED_WAIT


def test_how_long_a_404_is_retried_is_not_measured_by_the_date():
    """A clock that is set must not end it, nor prolong it."""
    waits = Backoff(RetryPolicy(), Most())
    missing = answer(404, x_should_retry="true")
    waits.wait_after(missing, 0.0, NOW)
    waits.wait_after(missing, NOT_FOUND_SECONDS - 0.1, NOW + 86_400)
    with pytest.raises(NotFoundError):
        waits.wait_after(missing, NOT_FOUND_SECONDS, NOW - 86_400)


def test_which_answers_mean_a_rotation():
    """A 409 does, and Electric's 400 for an offset from before a restore."""
    body = {"message": "Invalid request", "errors": {"offset": ["out of bounds for this shape"]}}
    assert is_rotation(answer(409))
    assert is_rotation(answer(400, json.dumps(body)))
    assert not is_rotation(answer(400, json.dumps({**body, "errors": {"tags": ["bad"]}})))
    assert not is_rotation(answer(400, "<html>"))
    assert not is_rotation(answer(410, json.dumps(body)))


def test_unreadable_answers_are_bounded():
    """An error page may be a passing fault; one that stays is raised."""
    waits = backoff()
    page = UnreadableAnswer("HTML")
    for _ in range(UNREADABLE_LIMIT - 1):
        waits.wait_after(page, NOW)
    with pytest.raises(UnreadableAnswer):
        waits.wait_after(page, NOW)
    waits.succeeded()
    waits.wait_after(page, NOW)


def test_only_unreadable_answers_in_a_row_are_counted():
    """One that could be read shows that the server is there; the pauses grow all the same."""
    waits = backoff(initial_delay=1, max_delay=1000)
    page = UnreadableAnswer("HTML")
    seen = []
    for _ in range(2 * UNREADABLE_LIMIT):
        seen.append(waits.wait_after(page, NOW))
        waits.understood()
    assert seen == [2**n for n in range(2 * UNREADABLE_LIMIT)]


# --- whose clock


def dated(seconds_ahead: float, **headers: str) -> dict[str, str]:
    """Headers of a server whose clock is so many seconds ahead of ours."""
    date = email.utils.formatdate(NOW + seconds_ahead, usegmt=True)
    return {"date": date, **{name.replace("_", "-"): text for name, text in headers.items()}}


@pytest.mark.parametrize("ahead", [-86_400, -300, 0, 300, 86_400])
def test_a_moment_is_measured_by_the_clock_of_the_server(ahead):
    """Ours may be wrong by hours: its own `Date` says what time it is there."""
    there = NOW + ahead
    reset = {"seconds": str(int(there + 7)), "milliseconds": str(int((there + 7) * 1000))}
    for text in reset.values():
        assert asked_wait(dated(ahead, x_ratelimit_reset=text), NOW) == pytest.approx(7, abs=1)
    date = email.utils.formatdate(there + 7, usegmt=True)
    assert asked_wait(dated(ahead, retry_after=date), NOW) == pytest.approx(7, abs=1)


@pytest.mark.parametrize("ahead", [-86_400, 0, 86_400])
def test_seconds_need_no_clock(ahead):
    """`Retry-After: 7` is what it says."""
    assert asked_wait(dated(ahead, retry_after="7"), NOW) == 7
    assert asked_wait({"retry-after": "7"}, NOW) == 7


def test_a_reset_in_seconds():
    """Below 10¹¹ it can be nothing else: in milliseconds that was 1973."""
    assert asked_wait({"x-ratelimit-reset": str(int(NOW) + 5)}, NOW) == pytest.approx(5, abs=1)
    assert asked_wait({"x-ratelimit-reset": "99999999999"}, NOW) is not None
    # The least one in milliseconds is long past.
    assert asked_wait({"x-ratelimit-reset": "100000000000"}, NOW) == 0


def test_a_moment_without_a_date_is_believed_for_a_minute():
    """Only our own clock is left to measure it, which may be a day behind."""
    far = {"x-ratelimit-reset": str(int((NOW + 86_400) * 1000))}
    assert asked_wait(far, NOW) == LONGEST_UNDATED_WAIT
    assert asked_wait({**far, "date": "no date"}, NOW) == LONGEST_UNDATED_WAIT
    assert asked_wait(dated(0, x_ratelimit_reset=far["x-ratelimit-reset"]), NOW) == LONGEST_WAIT


def test_a_moment_that_is_past_asks_for_nothing():
    """However long ago."""
    assert asked_wait(dated(0, x_ratelimit_reset=str(int(NOW - 60))), NOW) == 0
    past = email.utils.formatdate(NOW - 60, usegmt=True)
    assert asked_wait(dated(0, retry_after=past), NOW) == 0


def test_elapsed_times_do_not_follow_the_calendar():
    """How long a 404 is retried, and what a restart is close to, is measured by `now`; `today` may
    jump, as when a machine wakes up or its clock is set."""
    waits = backoff()
    missing = answer(404, x_should_retry="true")
    for jump in (0, -86_400, 86_400):
        waits.wait_after(missing, 10.0, NOW + jump)
    with pytest.raises(NotFoundError):
        waits.wait_after(missing, 10.0 + NOT_FOUND_SECONDS, NOW)
