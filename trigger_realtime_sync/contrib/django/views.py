"""Runs for browsers, as Server-Sent Events.

Who may see a run is the project's business: the client follows any run that its token covers, so
a view asks `permission(request, **what the URL says)` first. Without one of its own it asks the
setting `PERMISSION`, and without that, only users who are logged in pass. A project's decorators
fit around a view as around any other:

    path(
        "orders/<int:order>/events",
        permission_required("shop.view_order")(events_view(order_source, permission=anyone)),
    )
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_safe

from .. import sse
from .._asgi import InAThread
from . import conf
from .client import get_client

View = Callable[..., HttpResponseBase]


def logged_in(request: HttpRequest, **what: Any) -> bool:
    """Whoever is logged in. Nobody, where the project has no authentication."""
    user = getattr(request, "user", None)
    return user is not None and bool(user.is_authenticated) and bool(user.is_active)


def anyone(request: HttpRequest, **what: Any) -> bool:
    """Everybody: for a view that something else protects."""
    return True


def sse_response(
    request: HttpRequest,
    source: sse.Source,
    *,
    keep_alive: float | None = None,
    run_to_dict: sse.RunToDict = sse.run_as_dict,
) -> HttpResponseBase:
    """Answers a request with a subscription, for views that decide themselves who may see it.

    Args:
        source: what to relay: see `Relay`.
        keep_alive: seconds; by default the setting `KEEP_ALIVE`.
        run_to_dict: what the browser is shown of a run.

    Under ASGI each response keeps a thread.
    """
    last_event_id = request.headers.get("Last-Event-ID")
    if sse.has_ended(last_event_id):
        return HttpResponse(status=204)
    if request.method == "HEAD":
        return HttpResponse(headers=sse.HEADERS)
    relay = sse.Relay(
        source,
        last_event_id=last_event_id,
        keep_alive=conf.keep_alive() if keep_alive is None else keep_alive,
        run_to_dict=run_to_dict,
    )
    _decline_compression(request)
    body = InAThread(relay) if isinstance(request, ASGIRequest) else relay
    return StreamingHttpResponse(body, headers=sse.HEADERS)


def _decline_compression(request: HttpRequest) -> None:
    """Django's `GZipMiddleware` collects a stream until there is enough of it to compress.

    It asks nothing but what the browser accepts.
    """
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    request.__dict__.pop("headers", None)


def events_view(
    source: Callable[..., sse.Source],
    *,
    permission: conf.Permission | None = None,
    run_to_dict: sse.RunToDict = sse.run_as_dict,
) -> View:
    """A view that relays what `source(request, **what the URL says)` returns.

    Args:
        source: returns what to relay (see `Relay`). A `ValueError` of it, or of the subscription,
            is answered with 400.
        permission: called with the request and what the URL says. Not true: 403. Under ASGI too
            it is called in a thread, and so may query, but not be a coroutine function.
        run_to_dict: what the browser is shown of a run.
    """

    @require_safe
    def view(request: HttpRequest, **what: Any) -> HttpResponseBase:
        may_see = permission or conf.permission()
        if not _answer(may_see(request, **what)):
            return HttpResponse("You may not see this.", status=403, content_type="text/plain")
        try:
            return sse_response(request, source(request, **what), run_to_dict=run_to_dict)
        except ValueError as error:
            return HttpResponse(str(error), status=400, content_type="text/plain")

    return view


def _answer(seen: Any) -> bool:
    if inspect.isawaitable(seen):
        # It would be true, whatever it had to say.
        if inspect.iscoroutine(seen):
            seen.close()
        raise ImproperlyConfigured("a permission must answer at once: it can't be awaited")
    return bool(seen)


def _run(request: HttpRequest, run_id: str) -> sse.Source:
    return sse.shared(get_client().subscribe_to_run, run_id, skip_columns=("payload",))


def _stream(request: HttpRequest, run_id: str, key: str) -> sse.Source:
    client = get_client()
    return sse.shared(client.subscribe_to_stream, run_id, key, skip_columns=("payload",))


run_events = events_view(_run)
stream_events = events_view(_stream)
