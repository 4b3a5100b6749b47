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
not the base URL), and, for relays, `TRIGGER_REALTIME_KEEP_ALIVE` and `TRIGGER_REALTIME_MAX_AGE`, in
seconds, `TRIGGER_REALTIME_MAX_RELAYS` (of a process, 1,000) and
`TRIGGER_REALTIME_MAX_RELAYS_PER_USER` (20), and `TRIGGER_REALTIME_RELAY_OWNER`, a function that
says whose the current request is (by default the user of Flask-Login, else the address). In a web
request a call should end soon: `TRIGGER_REALTIME_CALL_TIMEOUT = 5`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .. import ConfigurationError, InvalidIdError, RealtimeClient
from . import page
from ._client import CLIENT_OPTIONS, ContextClient, base_url_of, hidden_options
from .page import AnyRun
from .sse import (
    HEADERS,
    KEEP_ALIVE,
    MAX_AGE,
    PRIVATE,
    TOO_MANY,
    Relay,
    RelayLimits,
    RunToDict,
    Source,
    TooManyRelays,
    has_ended,
    run_for_browser,
    shared,
)

try:
    from flask import Flask, Response, current_app, request, session
    from markupsafe import Markup
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


def request_owner() -> str | None:
    """Return whose the current request is: the key of Flask-Login's user, else the address."""
    return session.get("_user_id") or request.remote_addr


_BOUNDS = RelayLimits()
_DEFAULTS: Mapping[str, Any] = {
    "KEEP_ALIVE": KEEP_ALIVE,
    "MAX_AGE": MAX_AGE,
    "MAX_RELAYS": _BOUNDS.per_process,
    "MAX_RELAYS_PER_USER": _BOUNDS.per_owner,
    "RELAY_OWNER": request_owner,
}
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
        self._options = hidden_options(options)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the extension with an app. The app's client is made on first use."""
        for name, value in _DEFAULTS.items():
            app.config.setdefault(PREFIX + name, value)
        # A bound that can't work is an error now, and not in the first request.
        _limits(app.config)
        app.extensions[_EXTENSION] = {"extension": self}
        names = {
            "realtime_token": self.run_token,
            "realtime_run": self.run_props,
            "realtime_script": lambda: Markup(page.follow_script()),
        }
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

        The answer is 400 if the id can't be one, and 429 if this user, or this process, has too
        many relays already: see `TRIGGER_REALTIME_MAX_RELAYS`.

        The view must have checked that this user may see the run. It is asked again after
        `TRIGGER_REALTIME_MAX_AGE` seconds, an hour, when the browser comes again.
        """
        last_event_id = request.headers.get("Last-Event-ID")
        if has_ended(last_event_id):
            return Response(status=204, headers=PRIVATE)
        if request.method == "HEAD":
            return Response(headers=HEADERS)
        config = current_app.config
        try:
            relay = Relay(
                source,
                last_event_id=last_event_id,
                keep_alive=config[f"{PREFIX}KEEP_ALIVE"] if keep_alive is None else keep_alive,
                run_to_dict=run_to_dict,
                max_age=config[f"{PREFIX}MAX_AGE"],
                owner=config[f"{PREFIX}RELAY_OWNER"](),
                limits=_limits(config),
                environ=request.environ,
            )
        except InvalidIdError as error:
            return _refusal(str(error), 400)
        except TooManyRelays as refusal:
            return _refusal(TOO_MANY, 429, **{"Retry-After": str(refusal.retry_after)})
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
        return hidden_options(options)


def _limits(config: Mapping[str, Any]) -> RelayLimits:
    bounds = (config[f"{PREFIX}MAX_RELAYS"], config[f"{PREFIX}MAX_RELAYS_PER_USER"])
    return RelayLimits(*cast("tuple[int, int]", bounds))


def _refusal(text: str, status: int, **headers: str) -> Response:
    return Response(text, status, {**PRIVATE, **headers}, mimetype="text/plain")
