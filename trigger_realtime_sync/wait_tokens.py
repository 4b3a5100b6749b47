"""`client.wait_tokens`: what tasks wait for, and others complete."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from ._calls.calls import BoundedCalls, Calls
from ._calls.request import Repeat, Reply, Request, acknowledged
from ._checks import check_id
from ._decode.packets import JSON, Fetch, PacketValue
from ._decode.rest_run import Document, moment, text, texts
from ._encode.json import dumps
from ._encode.none import NONE
from ._encode.options import check_name, check_new_tags
from ._encode.superjson import encode_plain
from ._encode.times import check_key_ttl, check_timeout_of_token
from ._feeds.packet_fetcher import PacketFetcher
from ._http.retry import UnreadableAnswer
from ._http.tokens import Token
from ._wire.names import PUBLIC_TOKEN, WAIT_TOKENS_PATH, complete_path, wait_token_path
from .lists import page_query, read_page, several, single, time_query
from .models import WaitToken, WaitTokenStatus
from .pages import Page

__all__ = ["WaitTokens"]

LONGEST_KEY = 2048
# An unknown id is a 500: more attempts would mostly be in vain.
RETRIEVE_RETRIES = 1


class WaitTokens:
    """The wait tokens of an environment. Every method takes `call_timeout`, seconds for the whole
    call instead of the client's, and `access_token`, instead of the client's; and raises an
    `ApiError` that the server answers, or an `ApiConnectionError`.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def create(
        self,
        *,
        timeout: timedelta | datetime | str | int | None = None,
        tags: str | Iterable[str] = (),
        idempotency_key: str | None = None,
        idempotency_key_ttl: timedelta | str | int | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> WaitToken:
        """Make a token, for a task to wait for.

        Args:
            timeout: how long it lives: a timedelta, whole seconds or a duration such as `"3d"`, or
                an aware datetime. None: for ever.
            tags: up to ten.
            idempotency_key: finds the token that was made with it before. It is not hashed, in
                JavaScript neither. Without one, the request is never sent twice: see
                `may_have_happened` of the error.
            idempotency_key_ttl: as in `client.trigger`.

        Raises:
            ValueError: an argument can't work.
        """
        body: dict[str, Any] = {}
        if timeout is not None:
            body["timeout"] = check_timeout_of_token(timeout)
        if checked := check_new_tags(tags):
            body["tags"] = checked
        if idempotency_key is not None:
            body["idempotencyKey"] = check_name(idempotency_key, "idempotency_key", LONGEST_KEY)
        if idempotency_key_ttl is not None:
            body["idempotencyKeyTTL"] = check_key_ttl(idempotency_key_ttl)
        request = Request(
            method="POST",
            path=WAIT_TOKENS_PATH,
            label="new wait token",
            body=dumps(body).encode(),
            repeat=Repeat.NEVER if idempotency_key is None else Repeat.SAFE,
        )

        def read(reply: Reply) -> WaitToken:
            return WaitToken(
                id=reply.text_of("id"),
                url=text(reply.json().get("url")),
                is_cached=reply.json().get("isCached") is True,
                public_access_token=reply.headers.get(PUBLIC_TOKEN) or None,
                tags=checked,
                idempotency_key=idempotency_key,
            )

        return self._calls.bounded(call_timeout, access_token).send(request, read)

    def retrieve(
        self,
        token_id: str,
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> WaitToken:
        """Return a token. An unknown one is a `ServerError`."""
        check_id(token_id, "token_id")
        calls = self._calls.bounded(call_timeout, access_token)
        request = Request(
            method="GET", path=wait_token_path(token_id), label=f"wait token {token_id}"
        )
        return calls.retried_at_most(RETRIEVE_RETRIES).send(
            request, lambda reply: _retrieved(reply, calls)
        )

    def complete(
        self,
        token_id: str,
        data: Any = NONE,
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> None:
        """Let the task that waits for a token go on.

        Args:
            data: what it gets, of what JSON can hold; times arrive as text.

        The first one counts: nobody is told that a token was completed or timed out before.
        """
        check_id(token_id, "token_id")
        body = {} if data is NONE else {"data": encode_plain(data, "data")}
        request = Request(
            method="POST",
            path=complete_path(token_id),
            label=f"completion of wait token {token_id}",
            body=dumps(body).encode(),
        )
        self._calls.bounded(call_timeout, access_token).send(request, acknowledged)

    def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        tags: str | Iterable[str] = (),
        idempotency_key: str | None = None,
        period: str | timedelta | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        page_size: int | None = None,
        after: str | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Page[WaitToken]:
        """Return the first page of the tokens, without output: iterate over it for all of them.

        Args:
            status: `"WAITING"`, `"COMPLETED"` or `"TIMED_OUT"`, or several of them.
            tags: one, or several of which a token must have one.
            period, created_from, created_to, page_size, after: as in `client.runs.list`; without a
                time, all tokens are listed.

        Raises:
            ValueError: an argument can't work; a value with a comma is one.
        """
        wanted = [tags] if isinstance(tags, str) else list(tags)
        query = {
            **several("status", status, "filter[status]"),
            **several("tags", wanted or None, "filter[tags]"),
            **single("idempotency_key", idempotency_key, "filter[idempotencyKey]"),
            **time_query(created_from, created_to, period),
            **page_query(page_size, after),
        }
        calls = self._calls

        def turn(after: str | None) -> Page[WaitToken]:
            request = Request(
                method="GET",
                path=WAIT_TOKENS_PATH,
                label="list of wait tokens",
                query=query if after is None else {**query, "page[after]": after},
            )
            items, following = calls.bounded(call_timeout, access_token).send(request, read_page)
            return Page([_token(one, None) for one in items], following, turn)

        return turn(None)


def _retrieved(reply: Reply, calls: BoundedCalls) -> WaitToken:
    document = reply.json()
    if text(document.get("id")) is None:
        raise UnreadableAnswer(f"{reply.label}: the answer has no id of a token")
    return _token(document, PacketFetcher(calls.caller.origin))


def _token(document: Document, fetch: Fetch | None) -> WaitToken:
    token_id = text(document.get("id")) or ""
    is_own = document.get("userProvidedIdempotencyKey") is True
    data = document.get("output")
    if isinstance(data, str):
        content_type = text(document.get("outputType")) or JSON
        data = PacketValue(token_id, "output", data, content_type, None, fetch)
    return WaitToken(
        id=token_id,
        url=text(document.get("url")),
        status=WaitTokenStatus(text(document.get("status")) or ""),
        created_at=moment(document.get("createdAt")),
        timeout_at=moment(document.get("timeoutAt")),
        completed_at=moment(document.get("completedAt")),
        tags=texts(document.get("tags")),
        idempotency_key=text(document.get("idempotencyKey")) if is_own else None,
        output=data,
    )
