"""Streams as Server-Sent Events, in the two formats of v1 and v2 (docs/protocol.md, section 4)."""

from __future__ import annotations

import attrs

from ._http_server import HttpExchange
from ._observer import Observer, RecordedRequest
from ._replies import Reply, not_found, plain_text
from ._store import Store
from ._stream_body import StreamOptions, StreamRequest, parse_int
from ._stream_logs import StreamLogs, StreamName
from ._stream_v1 import StreamV1
from ._stream_v2 import StreamV2

# Seconds: the largest `Timeout-Seconds` that the server accepts.
_MAX_TIMEOUT = 600


@attrs.frozen
class StreamEvents:
    """Serves the streams of one server."""

    logs: StreamLogs
    store: Store
    observer: Observer
    options: StreamOptions

    def find(self, request: RecordedRequest) -> StreamName:
        """Return the stream that the request names.

        Raises:
            Refused: there is no such run.
        """
        run_id, key = request.segments[-2:]
        if self.store.get(run_id) is None or self.store.is_buffered(run_id):
            raise not_found(retry=False)
        return run_id, key

    def serve(self, exchange: HttpExchange, stream: StreamName) -> Reply | None:
        """Send events until the stream is idle for too long. Return the refusal, if it is one."""
        headers = exchange.request.headers
        # An empty header is none.
        text = headers.get("timeout-seconds")
        timeout = parse_int(text) if text else None
        if timeout is not None and (timeout < 0 or timeout > _MAX_TIMEOUT):
            bound = "greater than 0" if timeout < 0 else f"less than {_MAX_TIMEOUT}"
            return plain_text(400, f"Timeout seconds must be {bound}")
        last_event_id = headers.get("last-event-id", "")
        start = headers.get("x-trigger-stream-start") if self.options.honours_start else None
        request = StreamRequest(
            exchange=exchange,
            stream=stream,
            logs=self.logs,
            store=self.store,
            observer=self.observer,
            options=self.options,
            timeout=timeout,
            last_event_id=last_event_id,
            latest=not last_event_id and start == "latest",
        )
        if self.logs.version_of(stream) == "v2":
            return StreamV2(request).run()
        StreamV1(request).run()
        return None
