"""Requests that are made from one that was prepared before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._http.session import MOST_ORIGINS, HttpOptions, Transport
from trigger_realtime_sync._wire.names import segment
from trigger_realtime_sync.config import Timeouts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
BASES = [
    "https://api.trigger.dev",
    "http://localhost:3040",
    "https://host/pre/fix",
    "http://[::1]:9",
]


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    transport = Transport(
        HttpOptions(timeouts=Timeouts(), headers={"x-mine": "yes", "Accept": "me"})
    )
    yield transport
    transport.close()


@given(
    base=st.sampled_from([*BASES, "https://höst.example", "https://host/prä"]),
    # Those two are refused at the call: they would change the path.
    run_id=TEXTS.filter(lambda text: text not in (".", "..")),
    query=st.dictionaries(TEXTS, TEXTS, max_size=3),
    headers=st.sampled_from([{}, {"Accept": "text/event-stream"}, {"Last-Event-ID": "1-0"}]),
    token=st.sampled_from(["tr_1", "tr_2"]),
)
def test_they_are_what_requests_would_prepare(
    transport: Transport,
    base: str,
    run_id: str,
    query: dict[str, str],
    headers: dict[str, str],
    token: str,
) -> None:
    """Whatever was asked for before: URL, headers and token are this request's own."""
    url = f"{base}/realtime/v1/runs/{segment(run_id)}"
    made = transport._prepare(url, token, query, headers)
    anew = transport._prepare_for_api(url, token, query, headers)
    assert (made.method, made.url, made.body) == (anew.method, anew.url, anew.body)
    assert made.headers == anew.headers
    assert made.headers["Authorization"] == f"Bearer {token}"
    assert made.headers["Accept"] == headers.get("Accept", "me")


def test_one_request_does_not_change_the_next(transport: Transport) -> None:
    """requests may add headers while it sends one."""
    first = transport._prepare("http://a/b", "tr_1", {"c": "d"}, {})
    first.headers["Cookie"] = "mine"
    second = transport._prepare("http://a/e", "tr_1", {}, {})
    assert second.url == "http://a/e"
    assert "Cookie" not in second.headers


def test_what_is_remembered_is_bounded(transport: Transport) -> None:
    """A token that is renewed for ever does not fill the memory."""
    for n in range(3 * MOST_ORIGINS):
        transport._prepare("http://a/b", f"tr_{n}", {}, {})
    assert len(transport._prepared) <= MOST_ORIGINS


def test_a_third_party_gets_neither_token_nor_headers_of_the_user_s(transport: Transport) -> None:
    """Nor are they in what is remembered for it."""
    request = transport._prepare("http://store/x?signature=1", None, {}, {})
    assert request.url == "http://store/x?signature=1"
    assert not {"authorization", "x-mine", "accept"} & {name.lower() for name in request.headers}
