"""Requests made from one that was prepared before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._http.prepared import MOST_REMEMBERED, RequestMaker
from trigger_realtime_sync._wire.names import segment

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
BASES = [
    "https://api.trigger.dev",
    "http://localhost:3040",
    "https://host/pre/fix",
    "http://[::1]:9",
]


@pytest.fixture(scope="module")
def maker() -> RequestMaker:
    private = {"x-mine": "yes", "Accept": "me"}
    return RequestMaker({"User-Agent": "test", **private}, private)


@given(
    base=st.sampled_from([*BASES, "https://höst.example", "https://host/prä"]),
    # "." and ".." are rejected at the call: they would change the path.
    run_id=TEXTS.filter(lambda text: text not in (".", "..")),
    query=st.dictionaries(TEXTS, TEXTS, max_size=3),
    headers=st.sampled_from([{}, {"Accept": "text/event-stream"}, {"Last-Event-ID": "1-0"}]),
    token=st.sampled_from(["tr_1", "tr_2"]),
)
def test_they_are_what_requests_would_prepare(maker, base, run_id, query, headers, token):
    """Whatever was requested before, URL, headers and token are this request's own."""
    url = f"{base}/realtime/v1/runs/{segment(run_id)}"
    made = maker.make(url, token, query, headers)
    anew = maker.prepare(url, token, query, headers)
    assert (made.method, made.url, made.body) == (anew.method, anew.url, anew.body)
    assert made.headers == anew.headers
    assert made.headers["Authorization"] == f"Bearer {token}"
    assert made.headers["Accept"] == headers.get("Accept", "me")


def test_one_request_does_not_change_the_next(maker):
    """requests may add headers while it sends one."""
    first = maker.make("http://a/b", "tr_1", {"c": "d"}, {})
    first.headers["Cookie"] = "mine"
    second = maker.make("http://a/e", "tr_1", {}, {})
    assert second.url == "http://a/e"
    assert "Cookie" not in second.headers


def test_few_prepared_requests_are_remembered(maker):
    """A token that is renewed again and again does not fill the memory."""
    for n in range(3 * MOST_REMEMBERED):
        maker.make("http://a/b", f"tr_{n}", {}, {})
    assert maker._root.cache_info().currsize <= MOST_REMEMBERED


def test_a_third_party_gets_neither_the_token_nor_the_users_headers(maker):
    """Presigned URLs lead to other hosts."""
    request = maker.make("http://store/x?signature=1", None, {}, {})
    assert request.url == "http://store/x?signature=1"
    assert not {"authorization", "x-mine", "accept"} & {name.lower() for name in request.headers}
