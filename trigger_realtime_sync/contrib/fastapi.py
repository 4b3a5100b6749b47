"""A relay as a response of FastAPI, or of Starlette.

@app.get("/runs/{run_id}/events", response_class=RelayResponse)
async def events(run_id: str, user: User = Depends(who_may_see)) -> RelayResponse:
    return RelayResponse(shared(client.subscribe_to_run, run_id))

app = end_relays_at_stop(app)       # the last line
"""

from __future__ import annotations

from typing import Any

from . import asgi
from .asgi import end_relays_at_stop
from .sse import HEADERS, Source, shared

try:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send
except ModuleNotFoundError as error:
    if error.name != "starlette":
        raise
    raise ModuleNotFoundError(
        "trigger_realtime_sync.contrib.fastapi needs FastAPI or Starlette:"
        " pip install 'trigger-realtime-sync[fastapi]'",
        name="starlette",
    ) from error

__all__ = ["RelayResponse", "end_relays_at_stop", "shared"]


class RelayResponse(Response):
    """The answer to a request: a relay. For its options see `contrib.asgi.RelayResponse`.

    Its `status_code` is for FastAPI's documentation of the API; the relay chooses its own.
    """

    media_type = "text/event-stream"

    # FastAPI reads the default of `status_code` for its documentation of the API.
    def __init__(self, source: Source, *, status_code: int = 200, **options: Any) -> None:
        super().__init__(status_code=status_code, headers=HEADERS)
        self._relay = asgi.RelayResponse(source, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and run the background tasks after it."""
        await self._relay(scope, receive, send)
        if self.background is not None:
            await self.background()
