"""Flask: a client for each app, callbacks in its application context, and responses for browsers.

    realtime = TriggerRealtime()

    def create_app():
        app = Flask(__name__)
        realtime.init_app(app)
        return app

    @app.post("/orders")
    def order():
        handle = realtime.client.trigger("ship", request.json, call_timeout=5)
        return realtime.run_props(handle)       # for the official React hooks

    @app.get("/runs/<run_id>/events")
    @login_required
    def events(run_id):
        return realtime.sse_response(shared(realtime.client.subscribe_to_run, run_id))

Configuration, all optional: the options of `RealtimeClient` in capitals, after `TRIGGER_REALTIME_`
(`TRIGGER_REALTIME_ACCESS_TOKEN`, `TRIGGER_REALTIME_BASE_URL`, `TRIGGER_REALTIME_PREVIEW_BRANCH`…;
those left out come from the environment, as `RealtimeClient` says; `TRIGGER_REALTIME_SHARED` may be
the URL of a Redis), `TRIGGER_REALTIME_BROWSER_URL` (of the API, as browsers reach it, if that is
not the base URL), and `TRIGGER_REALTIME_KEEP_ALIVE`, in seconds. In a web request a call should end
soon: `TRIGGER_REALTIME_CALL_TIMEOUT = 5`.
"""

from __future__ import annotations

from typing import Any

from .. import ConfigurationError, RealtimeClient
from . import page
from ._client import CLIENT_OPTIONS, ContextClient, base_url_of
from .page import AnyRun
from .sse import HEADERS, KEEP_ALIVE, Relay, RunToDict, Source, has_ended, run_for_browser, shared

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
_EXTENSION = "trigger_realtime"


class TriggerRealtime:
    """The extension: one for any number of apps, each with a client of its own.

    Args:
        app: passed to `init_app`.
        options: options of `RealtimeClient` for all apps; an app's configuration overrides them.
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        unknown = options.keys() - set(CLIENT_OPTIONS)
        if unknown:
            raise ConfigurationError(f"no such options: {', '.join(sorted(unknown))}")
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension with an app. The app's client is made on first use."""
        app.config.setdefault(f"{PREFIX}KEEP_ALIVE", KEEP_ALIVE)
        app.extensions[_EXTENSION] = {"extension": self}
        names = {"realtime_token": self.run_token, "realtime_run": self.run_props}
        app.context_processor(lambda: dict(names))

    @property
    def client(self) -> RealtimeClient:
        """The client of the current app: one per process, made on first use.

        Each of its callbacks runs in an application context of its own.

        Raises:
            RuntimeError: there is no app context, or `init_app` was not called.
            ConfigurationError: an option can't work.
        """
        return self.client_of(current_app._get_current_object())

    def client_of(self, app: Flask) -> RealtimeClient:
        """Return the client of an app, for code without a context: start-up, the shell."""
        state = app.extensions.get(_EXTENSION)
        if state is None:
            raise RuntimeError("call TriggerRealtime.init_app(app) first")
        client: RealtimeClient | None = state.get("client")
        # No lock, which a fork could leave locked: if two threads make a client, one is unused.
        return client or state.setdefault("client", self._make_client(app))

    def sse_response(
        self,
        source: Source,
        *,
        keep_alive: float | None = None,
        run_to_dict: RunToDict = run_for_browser,
    ) -> Response:
        """Return a response to the current request that relays a subscription.

        Args:
            source: what to relay, see `Relay`.
            keep_alive: in seconds. Default: `TRIGGER_REALTIME_KEEP_ALIVE`.
            run_to_dict: returns what the browser sees of a run.

        The view must have checked that this user may see the run.
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

    def run_token(self, run: AnyRun, **options: Any) -> str:
        """Return a public token that reads exactly one run: see `page.run_token`.

        In templates: `{{ realtime_token(run) }}`. The view must have checked that this user may
        see all of this run.
        """
        return page.run_token(self.client, run, **options)

    def run_props(self, run: AnyRun, **options: Any) -> dict[str, str]:
        """Return what the official hooks need to follow a run: see `page.run_props`.

        In templates: `<script type="application/json">{{ realtime_run(run)|tojson }}</script>`. As
        the result of a view it is for pages whose token expires before the run has finished; set
        `Cache-Control: no-store` there.
        """
        app = current_app._get_current_object()
        url = app.config.get(f"{PREFIX}BROWSER_URL") or base_url_of(self._options_of(app))
        return page.run_props(self.client, run, **{"base_url": url, **options})

    def _make_client(self, app: Flask) -> RealtimeClient:
        return ContextClient(app.app_context, **self._options_of(app))

    def _options_of(self, app: Flask) -> dict[str, Any]:
        options = dict(self._options)
        for name in CLIENT_OPTIONS:
            value = app.config.get(PREFIX + name.upper())
            if value is not None:
                options[name] = value
        return options
