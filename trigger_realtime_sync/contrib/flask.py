"""Flask: a client for each app, callbacks in its application context, and runs for browsers.

    realtime = TriggerRealtime()

    def create_app():
        app = Flask(__name__)
        realtime.init_app(app)
        return app

    @app.get("/runs/<run_id>/events")
    @login_required
    def events(run_id):
        return realtime.sse_response(shared(realtime.client.subscribe_to_run, run_id))

Configuration, all optional: `TRIGGER_REALTIME_ACCESS_TOKEN`, `_BASE_URL`, `_THROTTLE_IN_MS`,
`_PREVIEW_BRANCH`, `_RETRY`, `_TIMEOUTS`, `_MAX_CACHED`, `_HEADERS`, `_PROXIES`, `_VERIFY`: the
options of `RealtimeClient`; and `TRIGGER_REALTIME_KEEP_ALIVE`, in seconds.
"""

from __future__ import annotations

from typing import Any

from .. import ConfigurationError, RealtimeClient
from ._clients import SurroundedClient
from .sse import HEADERS, KEEP_ALIVE, Relay, RunToDict, Source, has_ended, run_as_dict, shared

try:
    from flask import Flask, Response, current_app, request
except ModuleNotFoundError as error:
    if error.name != "flask":
        raise
    raise ModuleNotFoundError(
        "trigger_realtime_sync.contrib.flask needs Flask:"
        " pip install 'trigger-realtime-sync[flask]'",
        name="flask",
    ) from error

__all__ = ["TriggerRealtime", "shared"]

PREFIX = "TRIGGER_REALTIME_"
CLIENT_OPTIONS = (
    "access_token",
    "base_url",
    "throttle_in_ms",
    "preview_branch",
    "retry",
    "timeouts",
    "max_cached",
    "headers",
    "proxies",
    "verify",
)
_EXTENSION = "trigger_realtime"


class TriggerRealtime:
    """The extension: one for any number of apps, each with a client of its own.

    Args:
        app: calls `init_app` with it.
        options: of `RealtimeClient`, for all apps; the configuration of an app comes first.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        unknown = options.keys() - set(CLIENT_OPTIONS)
        if unknown:
            raise ConfigurationError(f"no such options: {', '.join(sorted(unknown))}")
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Readies an app. Its client is made when it is first asked for."""
        app.config.setdefault(f"{PREFIX}KEEP_ALIVE", KEEP_ALIVE)
        app.extensions[_EXTENSION] = {"extension": self}

    @property
    def client(self) -> RealtimeClient:
        """The client of the current app: one per process, made when it is first asked for.

        Its callbacks run in an application context of their own.

        Raises:
            RuntimeError: there is no app context, or `init_app` was not called.
            ConfigurationError: an option can't work.
        """
        return self.client_of(current_app._get_current_object())

    def client_of(self, app: Flask) -> RealtimeClient:
        """The client of an app, without a context: for start-up code and the shell."""
        state = app.extensions.get(_EXTENSION)
        if state is None:
            raise RuntimeError("call TriggerRealtime.init_app(app) first")
        client: RealtimeClient | None = state.get("client")
        # Without a lock, which a fork could leave locked: of two made at once, one is never used.
        return client or state.setdefault("client", self._make_client(app))

    def sse_response(
        self,
        source: Source,
        *,
        keep_alive: float | None = None,
        run_to_dict: RunToDict = run_as_dict,
    ) -> Response:
        """Answers the current request with a subscription, as Server-Sent Events.

        Args:
            source: what to relay: see `Relay`.
            keep_alive: seconds; by default `TRIGGER_REALTIME_KEEP_ALIVE`.
            run_to_dict: what the browser is shown of a run.

        Who may see the run is for the view to decide, before it calls this.
        """
        last_event_id = request.headers.get("Last-Event-ID")
        if has_ended(last_event_id):
            return Response(status=204)
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        if keep_alive is None:
            keep_alive = current_app.config[f"{PREFIX}KEEP_ALIVE"]
        relay = Relay(
            source, last_event_id=last_event_id, keep_alive=keep_alive, run_to_dict=run_to_dict
        )
        return Response(relay, headers=HEADERS)

    def _make_client(self, app: Flask) -> RealtimeClient:
        options = dict(self._options)
        for name in CLIENT_OPTIONS:
            value = app.config.get(PREFIX + name.upper())
            if value is not None:
                options[name] = value
        return SurroundedClient(around=app.app_context, **options)
