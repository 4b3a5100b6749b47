"""Views that show runs to browsers, as Server-Sent Events.

The project must decide who may see a run, as the client follows any run that its token covers. A
view first calls `permission(request, **url_arguments)`: its own, the setting `PERMISSION`, or else
`logged_in`. Decorators fit around these views as around any other:

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
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from .. import page, sse
from . import conf
from .body import AsyncBody, Body
from .client import get_client

View = Callable[..., HttpResponseBase]


def logged_in(request: HttpRequest, **url_arguments: Any) -> bool:
    """Return True if an active user is logged in; False in projects without authentication."""
    user = getattr(request, "user", None)
    return user is not None and bool(user.is_authenticated) and bool(user.is_active)


def anyone(request: HttpRequest, **url_arguments: Any) -> bool:
    """Return True: for a view that is protected otherwise."""
    return True


def sse_response(
    request: HttpRequest,
    source: sse.Source,
    *,
    keep_alive: float | None = None,
    run_to_dict: sse.RunToDict = sse.run_for_browser,
) -> HttpResponseBase:
    """Return a response that relays a subscription, for views that check permissions themselves.

    Args:
        request: the request to answer. Under ASGI the response occupies a thread.
        source: what to relay, see `Relay`.
        keep_alive: in seconds. Default: the setting `KEEP_ALIVE`.
        run_to_dict: returns what the browser sees of a run.
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
    body = AsyncBody(relay) if isinstance(request, ASGIRequest) else Body(relay)
    return StreamingHttpResponse(body, headers=sse.HEADERS)


def _decline_compression(request: HttpRequest) -> None:
    """Keep `GZipMiddleware` from collecting events until there are enough to compress.

    It looks only at what the browser accepts.
    """
    request.META.pop("HTTP_ACCEPT_ENCODING", None)
    request.__dict__.pop("headers", None)


def events_view(
    source: Callable[..., sse.Source],
    *,
    permission: conf.Permission | None = None,
    run_to_dict: sse.RunToDict = sse.run_for_browser,
) -> View:
    """Return a view that relays what `source(request, **url_arguments)` returns.

    Args:
        source: returns what to relay, see `Relay`. If it, or subscribing, raises `ValueError`, the
            answer is 400.
        permission: called with the request and the arguments from the URL. If its result is not
            true, the answer is 403. It is called in a thread even under ASGI, so that it may query
            the database, and can't be a coroutine function.
        run_to_dict: returns what the browser sees of a run.
    """

    @require_safe
    def view(request: HttpRequest, **url_arguments: Any) -> HttpResponseBase:
        may_see = permission or conf.permission()
        if not _is_allowed(may_see(request, **url_arguments)):
            return HttpResponse("You may not see this.", status=403, content_type="text/plain")
        try:
            return sse_response(request, source(request, **url_arguments), run_to_dict=run_to_dict)
        except ValueError as error:
            return HttpResponse(str(error), status=400, content_type="text/plain")

    return view


def token_view(
    run: Callable[..., Any] | None = None,
    *,
    permission: conf.Permission,
    **options: Any,
) -> View:
    """Return a view that answers with what a page needs to follow a run by itself, as JSON.

    For a page whose token expires before the run has finished. It is never cached.

    Args:
        run: returns the run, its handle or its id, called with the request and the arguments from
            the URL. Default: the argument `run_id` of the URL. If it raises `ValueError`, the
            answer is 400.
        permission: as in `events_view`, but without a default: the token shows all of the run, its
            payload too, which a project that lets all users see its runs may not have meant.
        options: see `page.run_props`.
    """

    @require_safe
    def view(request: HttpRequest, **url_arguments: Any) -> HttpResponseBase:
        if not _is_allowed(permission(request, **url_arguments)):
            return HttpResponse("You may not see this.", status=403, content_type="text/plain")
        given = {"base_url": conf.browser_url(), **options}
        try:
            shown = url_arguments["run_id"] if run is None else run(request, **url_arguments)
            props = page.run_props(get_client(), shown, **given)
        except ValueError as error:
            return HttpResponse(str(error), status=400, content_type="text/plain")
        return JsonResponse(props, headers={"Cache-Control": "no-store"})

    return view


def _is_allowed(result: Any) -> bool:
    if inspect.isawaitable(result):
        # An awaitable is true, whatever it would return.
        if inspect.iscoroutine(result):
            result.close()
        raise ImproperlyConfigured("a permission must return a bool: it can't be awaited")
    return bool(result)


def _run(request: HttpRequest, run_id: str) -> sse.Source:
    return sse.shared(get_client().subscribe_to_run, run_id, skip_columns=("payload",))


def _stream(request: HttpRequest, run_id: str, key: str) -> sse.Source:
    client = get_client()
    return sse.shared(client.subscribe_to_stream, run_id, key, skip_columns=("payload",))


run_events = events_view(_run)
stream_events = events_view(_stream)
