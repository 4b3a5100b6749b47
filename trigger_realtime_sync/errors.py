"""Every error of this library's own: all are `TriggerRealtimeError`, but `InvalidIdError`.

None of them ever holds a token, in its message, its repr or its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .models import Run


class TriggerRealtimeError(Exception):
    """The base of all errors of this library.

    Attributes:
        terminal: whether the subscription that reported this error ended by it.
        may_have_happened: of what a call raised: whether the server may have done what it was asked
            for, by this attempt or by an earlier one whose answer was lost.
    """

    terminal: bool = True
    may_have_happened: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own calls the class with the message alone, which most of these refuse.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[TriggerRealtimeError], args: tuple[Any, ...]) -> TriggerRealtimeError:
    return kind.__new__(kind, *args)


class ConfigurationError(TriggerRealtimeError, ValueError):
    """An option or an environment variable has a value that can't work, or is missing."""


class InvalidIdError(ValueError):
    """The id of a run or a batch, a tag, or the key of a stream that can't be one.

    An argument that can't work is a `ValueError`, as everywhere in Python. This one tells a web
    application that a visitor made it up: answer 400. No other `ValueError` is the visitor's.
    """


class ProtocolError(TriggerRealtimeError):
    """The server, or something between, sent what the protocol does not allow.

    The message says what was wrong, and in the answer to which request.
    """


class ProtocolReport(ProtocolError):
    """The base of reports to `on_error` about something that lasts, or that is lost.

    The subscription goes on, unless it was for nothing else: then `terminal` is True.

    Attributes:
        run_id: the run it is about, or None if it is about more than one.
        stream: the key of the stream it is about, or None if it is about none.
    """

    terminal = False

    def __init__(
        self, message: str, *, run_id: str | None = None, stream: str | None = None
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.stream = stream


class ShapeStale(ProtocolReport):
    """The server has not brought a subscription up to date for a minute, though it answers: it asks
    to start again and again, or a cache answers with an old state. Told again every hour.
    """


class StreamUnreadable(ProtocolReport):
    """A stream was given up: for `stream_patience` seconds after its run had finished, no read of
    it reached a proven end. Parts of it may be missing.

    Terminal for `subscribe_to_stream`, which has nothing else to read. Its `__cause__` is what went
    wrong last, if anything did.
    """


class StreamRewound(ProtocolReport):
    """The server's storage lost a v2 stream, or put it back to an earlier state.

    It is read again from its beginning. Of the parts that were delivered before, the newest 100,000
    records are recognized and dropped. Older ones, and what another process had read before a
    restored `last_event_id`, are delivered again.
    """


class StreamTrimmed(ProtocolReport):
    """Records of a stream were trimmed away before they were read. The message names them."""


class ApiConnectionError(TriggerRealtimeError):
    """The server could not be reached, or the connection broke off.

    Retried silently; reported only once `RetryPolicy.max_retries` are used up.
    """


class CallTimeout(ApiConnectionError, TimeoutError):
    """A call did not end within its `call_timeout`."""


class ConnectionUntrusted(ApiConnectionError):
    """The server's certificate was refused, though TLS had worked in this client before.

    For a moment something else answers (the login page of a network, an inspection of TLS), a clock
    is wrong, or the certificate is renewed late. Retried as any `ApiConnectionError`, and told to
    `on_error` once, since it may last until someone acts: again after an hour. `terminal` is True
    only where `RetryPolicy.max_retries` are used up.
    """

    terminal = False


class ApiError(TriggerRealtimeError):
    """The server answered with an error status.

    Attributes:
        status: the HTTP status.
        code: the error code in the body (`"unauthorized"`), or None.
        body: the body as text, shortened to 10,000 characters.
        headers: the headers of the answer, names in lower case.
        retry_after: in how many seconds, from when the answer came, the server wants to be asked
            again; None if it did not say.
    """

    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        body: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body
        self.headers = dict(headers or {})


class BadRequestError(ApiError):
    """400: the request is wrong, an unknown option or a malformed id, say."""


class AuthenticationError(ApiError):
    """401: the token is missing, wrong or expired."""


class PermissionDeniedError(ApiError):
    """403: the token lacks the scope for this run, tag, batch or stream."""


class NotFoundError(ApiError):
    """404: no such run or batch."""


class ConflictError(ApiError):
    """409: the server's copy of the data was rotated (handled by starting again)."""


class UnprocessableEntityError(ApiError):
    """422: the request is well-formed, but the server can't serve it."""


class RateLimitError(ApiError):
    """429: too many requests or too many concurrent polls. Retried after a wait."""


class ServerError(ApiError):
    """5xx: the server failed. Retried after a wait."""


class BatchTriggerError(TriggerRealtimeError):
    """A batch was not triggered as a whole: something of it is left behind, or unknown.

    Its `__cause__` is why. Calling again with the same `idempotency_key` goes on where it stopped.
    `may_have_happened` says whether there may be runs of it.

    Attributes:
        phase: `"upload"` of large payloads, `"create"` of the batch, or `"items"`, of which some
            may have arrived and run.
        batch_id: of the batch, once there is one.
    """

    def __init__(self, message: str, *, phase: str, batch_id: str | None = None) -> None:
        super().__init__(message)
        self.phase = phase
        self.batch_id = batch_id


class CallbackError(TriggerRealtimeError):
    """A callback raised. Its exception is the `__cause__`; the subscription goes on.

    Attributes:
        callback: the name of the option that raised, `"on_update"` say.
    """

    terminal = False

    def __init__(self, message: str, *, callback: str) -> None:
        super().__init__(message)
        self.callback = callback


class PayloadError(TriggerRealtimeError):
    """A payload, output, metadata or stream part could not be decoded or fetched.

    Attributes:
        run_id: the run it belongs to; None for a part of a session.
        field: `"payload"`, `"output"`, `"metadata"`, or the key of the stream.
        raw: the packet as the server sent it (a string; for a part, what its JSON held).
        content_type: the packet's type, `"application/json"` say.
    """

    terminal = False

    def __init__(
        self,
        message: str,
        *,
        run_id: str | None,
        field: str,
        raw: Any = None,
        content_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.field = field
        self.raw = raw
        self.content_type = content_type


class RunFailed(TriggerRealtimeError):
    """`result()` was called for a run that did not succeed.

    Attributes:
        run: the finished run.
        error: the run's `RunError`, or None (a cancelled run has none).
    """

    terminal = False

    def __init__(self, run: Run[Any, Any]) -> None:
        why = f": {run.error.message}" if run.error is not None else ""
        super().__init__(f"run {run.id} finished as {run.status.value}{why}")
        self.run = run
        self.error = run.error


class SubscriptionCancelled(TriggerRealtimeError):
    """The subscription was cancelled, so that waiting for it makes no sense."""


class WaitTimeout(TriggerRealtimeError, TimeoutError):
    """A wait exceeded its `timeout`. The subscription goes on."""

    terminal = False


class ClientClosed(TriggerRealtimeError, RuntimeError):
    """The client was closed: it takes no more subscriptions or calls."""
