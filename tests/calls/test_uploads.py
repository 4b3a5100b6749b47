"""Large payloads: uploaded where the server takes uploads, inline where it does not."""

from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from tests.support.raw import by_path, hangup, in_turn, reply
from tests.support.settings import TOKEN
from trigger_realtime_sync import ApiError, ProtocolError, ServerError
from trigger_realtime_sync._calls.uploads import LEAST_UPLOADED

LARGE = {"blob": "x" * LEAST_UPLOADED}
RUN = reply(200, {}, {"id": "run_1", "isCached": False})
SECRET = "X-Amz-Signature=hunter2"


def uploads(server: Any) -> list[Any]:
    return [one for one in server.requests if one.path.startswith("/api/v2/packets")]


@pytest.mark.parametrize("payload", [LARGE, "x" * LEAST_UPLOADED], ids=["json", "text"])
def test_a_large_payload_is_uploaded(server, connect, payload):
    """The task gets it as if it had come inline."""
    server.task("t")(lambda payload: payload)
    handle = connect(server).trigger("t", payload)
    assert handle.result(10) == payload
    assert len(uploads(server)) == 1
    (asked,) = server.triggered("t")
    assert asked.options["payloadType"] == "application/store"


def test_a_small_payload_is_not(server, connect):
    """One byte makes the difference."""
    client = connect(server)
    client.trigger("t", "x" * (LEAST_UPLOADED - 1))
    assert uploads(server) == []
    client.trigger("t", "x" * LEAST_UPLOADED)
    assert len(uploads(server)) == 1


@pytest.mark.parametrize("setting", ["object_store", "uploads"])
def test_a_server_that_takes_none_gets_it_inline(server, connect, setting):
    """And is not asked again for an hour."""
    setattr(server.settings, setting, False)
    server.task("t")(lambda payload: payload)
    client = connect(server)
    assert client.trigger("t", LARGE).result(10) == LARGE
    assert client.trigger("t", LARGE).result(10) == LARGE
    assert len(uploads(server)) == 1
    assert connect(server).trigger("t", LARGE).result(10) == LARGE
    assert len(uploads(server)) == 2


class Provider:
    """Hands out a key, and can't be hashed."""

    def __call__(self) -> str:
        return TOKEN

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]


def test_what_is_known_of_one_token_function_is_not_of_the_next(server, connect, caplog):
    """One that is gone leaves its place in memory to nobody who is taken for it."""
    # A record would keep it.
    caplog.set_level(logging.WARNING, "trigger_realtime_sync")
    server.settings.uploads = False
    client = connect(server)
    first = Provider()
    place = id(first)
    client.trigger("t", LARGE, access_token=first)
    del first
    gc.collect()
    others = [Provider() for _ in range(100_000)]
    for other in [one for one in others if id(one) == place] or others[:1]:
        client.trigger("t", LARGE, access_token=other)
    assert len(uploads(server)) == 2


def test_a_page_is_no_answer_of_a_store(server, connect):
    """Something in between said 200, and stored nothing: the run would get no payload."""
    server.fail_next(match="presigned", html=True)
    server.task("t")(lambda payload: payload)
    assert connect(server).trigger("t", LARGE).result(10) == LARGE


def test_a_public_token_uploads_nothing(server, connect):
    """It may not."""
    client = connect(server, access_token=server.public_token("trigger:tasks:t"))
    client.trigger("t", LARGE)
    assert uploads(server) == []
    provided = connect(server, access_token=lambda: server.public_token("trigger:tasks:t"))
    provided.trigger("t", LARGE)
    provided.trigger("t", LARGE)
    assert len(server.triggered("t")) == 3


def presigned(server: Any) -> Any:
    """Answer with the URL of a storage on the same server."""
    return lambda exchange: exchange.answer(
        200,
        {},
        {"presignedUrl": f"{server[0].url}/store/x?{SECRET}", "storagePath": "s3://x/y"},
    )


@pytest.fixture
def store(raw) -> Any:
    """A server whose storage answers by steps; the token is not sent there."""

    def make(*steps: Any) -> Any:
        holder: list[Any] = []
        holder.append(
            raw(by_path({"/api/v2/packets": presigned(holder), "/store": in_turn(*steps)}, RUN))
        )
        return holder[0]

    return make


def test_the_storage_gets_the_bytes_and_no_token(store, connect):
    """With the type that its reader goes by; what the server named is sent back as it is."""
    server = store(reply(200))
    connect(server, headers={"x-mine": "secret"}).trigger("t", "x" * LEAST_UPLOADED)
    place, upload, trigger = server.exchanges
    assert (place.method, place.body) == ("PUT", b"")
    assert place.path.startswith("/api/v2/packets/trigger/packet_")
    assert place.path.endswith("/payload.txt")
    assert place.headers["content-length"] == "0"
    assert upload.method == "PUT"
    assert upload.headers["content-type"] == "text/plain"
    assert upload.body == b"x" * LEAST_UPLOADED
    assert not {"authorization", "x-mine", "x-trigger-api-version"} & set(upload.headers)
    assert trigger.json() == {
        "payload": "s3://x/y",
        "options": {"payloadType": "application/store", "payloadSize": LEAST_UPLOADED},
    }


def test_an_upload_is_tried_again(store, connect):
    """To the same place."""
    server = store(hangup(), reply(500), reply(503), reply(200))
    assert connect(server).trigger("t", LARGE).id == "run_1"
    assert len(server.exchanges) == 6


def test_a_storage_that_refuses_is_an_error_without_its_url(store, connect, caplog):
    """Which is as good as a token."""
    refusal = reply(403, {"x-url": SECRET}, f"<Error>{SECRET}</Error>")
    tokens: list[int] = []
    client = connect(store(refusal), access_token=lambda: tokens.append(1) or "tr_x")
    with caplog.at_level("INFO"), pytest.raises(ApiError) as caught:
        client.trigger("t", LARGE)
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caplog.text}"
    assert "hunter2" not in shown
    assert caught.value.status == 403
    with pytest.raises(ServerError) as caught:
        connect(store(reply(500, {}, SECRET))).trigger("t", LARGE)
    assert "hunter2" not in f"{caught.value} {vars(caught.value)}"


@pytest.mark.parametrize(
    "places", [{}, {"presignedUrl": "ftp://x", "storagePath": "y"}, {"presignedUrl": "http://x/"}]
)
def test_a_place_that_is_none_is_an_error(raw, connect, places):
    """And the run is not triggered."""
    server = raw(by_path({"/api/v2/packets": reply(200, {}, places)}, RUN))
    with pytest.raises(ProtocolError):
        connect(server).trigger("t", LARGE)
    assert not any("/tasks/" in one.path for one in server.exchanges)
