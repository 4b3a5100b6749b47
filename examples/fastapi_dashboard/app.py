"""A page with FastAPI that shows runs live, each with its progress.

    pip install 'trigger-realtime-sync[fastapi]' uvicorn
    uvicorn --app-dir examples/fastapi_dashboard app:app

Then open http://127.0.0.1:8000. It has its own server, with tasks that run on it. To see your
project instead, set TRIGGER_SECRET_KEY and TRIGGER_API_URL.
"""

import os
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, Response

from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.contrib.fastapi import RelayResponse, end_relays_at_stop, shared
from trigger_realtime_sync.contrib.page import follow_script

TAG = "dashboard"
PAGE = Path(__file__).parent / "page.html"


class Demo:
    """The client, and the server that it follows where no project is named."""

    def __init__(self) -> None:
        self.server = None
        if not os.environ.get("TRIGGER_SECRET_KEY"):
            from trigger_realtime_sync.testing import RealtimeServer

            self.server = RealtimeServer()
        self.client = None

    def start(self) -> None:
        if self.server is None:
            self.client = RealtimeClient()
            return
        self.server.start()
        self.server.task("make-report")(make_report)
        self.client = RealtimeClient("tr_dev_demo", base_url=self.server.url)

    def stop(self) -> None:
        self.client.close()
        if self.server is not None:
            self.server.stop()


def make_report(payload):
    """The task of the demonstration. Yours are written in TypeScript, and run at Trigger.dev."""
    return f"{payload['pages']} pages"


demo = Demo()


@asynccontextmanager
async def lifespan(app: FastAPI):
    demo.start()
    yield
    demo.stop()


api = FastAPI(lifespan=lifespan)


def may_see_all() -> None:
    """Raise `HTTPException(403)` here for who may not see these runs: it is asked each time."""


@api.get("/", response_class=HTMLResponse)
def page() -> str:
    return PAGE.read_text(encoding="utf-8").replace("/* follow.js */", follow_script())


@api.post("/jobs", status_code=204)
def start_job() -> Response:
    # A plain function, which FastAPI runs in a thread: the call waits for the server.
    demo.client.trigger("make-report", {"pages": 12}, tags=[TAG], call_timeout=5)
    return Response(status_code=204)


@api.get("/events", response_class=RelayResponse, dependencies=[Depends(may_see_all)])
async def events() -> RelayResponse:
    return RelayResponse(
        shared(
            demo.client.subscribe_to_runs_with_tag, TAG, created_at="1h", skip_columns=("payload",)
        )
    )


# What the server serves: it ends the relays when the server is told to stop.
app = end_relays_at_stop(api)
