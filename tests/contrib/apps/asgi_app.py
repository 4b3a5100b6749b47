"""The applications that ASGI servers serve in the tests: FastAPI's and Django's."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from fastapi import FastAPI

from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.contrib.asgi import end_relays_at_stop
from trigger_realtime_sync.contrib.fastapi import RelayResponse, shared
from trigger_realtime_sync.contrib.sse import RelayLimits

client = RealtimeClient(retry=RetryPolicy(initial_delay=0.01, max_delay=0.1))
# All browsers of the tests have one address.
LIMITS = RelayLimits(per_process=None, per_owner=None)

api = FastAPI()


@api.get("/runs/{run_id}/events", response_class=RelayResponse)
async def run_events(run_id: str) -> RelayResponse:
    return RelayResponse(shared(client.subscribe_to_run, run_id), limits=LIMITS)


@api.get("/streams/{run_id}/{key}")
async def stream_events(run_id: str, key: str) -> RelayResponse:
    return RelayResponse(shared(client.subscribe_to_stream, run_id, key), limits=LIMITS)


@api.get("/threads")
async def threads() -> Any:
    import resource
    import threading

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"threads": threading.active_count(), "megabytes": memory, "pid": os.getpid()}


settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["trigger_realtime_sync.contrib.django"],
    ROOT_URLCONF="trigger_realtime_sync.contrib.django.urls",
    TRIGGER_REALTIME={
        "PERMISSION": "trigger_realtime_sync.contrib.django.views.anyone",
        "MAX_RELAYS_PER_USER": None,
    },
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402

fastapi_app = end_relays_at_stop(api)
django_app = end_relays_at_stop(get_asgi_application())
