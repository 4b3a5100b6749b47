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
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.http import require_safe

from ... import ConfigurationError, InvalidIdError
from .. import page, sse
from . import conf
from .body import AsyncBody, Body
from .client import get_client

View = Callable[..., HttpResponseBase]

NOT_ALLOWED = "You may not see this."


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
    owner: object = None,
) -> HttpResponseBase:
    """Return a response that relays a subscription, for views that check permissions themselves.

    Args:
        request: the request to answer. Under ASGI all responses share one thread.
        source: what to relay, see `Relay`.
        keep_alive: in seconds. Default: the setting `KEEP_ALIVE`.
        run_to_dict: returns what the browser sees of a run.
        owner: whose the request is. Default: what the setting `RELAY_OWNER` says.

    The answer is 400 if the id can't be one, and 429 if this user, or this process, has too many
    relays already.
    """
    last_event_id = request.headers.get("Last-Event-ID")
    if sse.has_ended(last_event_id):
        return HttpResponse(status=204, headers=sse.PRIVATE)
    if request.method == "HEAD":
        return HttpResponse(headers=sse.HEADERS)
    options: dict[str, Any] = {
        "last_event_id": last_event_id,
        "keep_alive": conf.keep_alive() if keep_alive is None else keep_alive,
        "run_to_dict": run_to_dict,
        "max_age": conf.max_age(),
        "owner": conf.relay_owner()(request) if owner is None else owner,
        "limits": conf.relay_limits(),
    }
    try:
        if isinstance(request, ASGIRequest):
            body: AsyncBody | Body = AsyncBody(source, options)
        else:
            body = Body(sse.Relay(source, environ=request.META, **options))
    except InvalidIdError as error:
        return _refusal(str(error), 400)
    except sse.TooManyRelays as refusal:
        return _refusal(sse.TOO_MANY, 429, **{"Retry-After": str(refusal.retry_after)})
    _decline_compression(request)
    return StreamingHttpResponse(body, headers=sse.HEADERS)


def request_owner(request: HttpRequest) -> object:
    """Return whose a request is: the `pk` of its user, else the address.

    In an `async def` view Django does not say who `request.user` is; pass `owner=` there.
    """
    try:
        user = getattr(request, "user", None)
        key = user.pk if user is not None and user.is_authenticated else None
    except (AttributeError, SynchronousOnlyOperation):
        key = None
    return key if key is not None else request.META.get("REMOTE_ADDR") or None


def _refusal(text: str, status: int, **headers: str) -> HttpResponse:
    return HttpResponse(
        text, status=status, content_type="text/plain", headers={**sse.PRIVATE, **headers}
    )


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
        source: returns what to relay, see `Relay`. If it, or subscribing, raises `InvalidIdError`,
            the answer is 400. Any other error is Django's to report, a 500.
        permission: called with the request and the arguments from the URL, or awaited if it is a
            coroutine function. If its result is not true, the answer is 403. It is called in a
            thread even under ASGI, so that it may query the database. It is asked again when the
            browser comes again: after `MAX_AGE` seconds, an hour.
        run_to_dict: returns what the browser sees of a run.
    """

    @require_safe
    def view(request: HttpRequest, **url_arguments: Any) -> HttpResponseBase:
        may_see = permission or conf.permission()
        if not _is_allowed(may_see(request, **url_arguments)):
            return _refusal(NOT_ALLOWED, 403)
        try:
            return sse_response(request, source(request, **url_arguments), run_to_dict=run_to_dict)
        except InvalidIdError as error:
            return _refusal(str(error), 400)

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
            return _refusal(NOT_ALLOWED, 403)
        given = {"base_url": conf.browser_url(), **options}
        try:
            shown = _run_shown(run, request, url_arguments)
            props = page.run_props(get_client(), shown, **given)
        except InvalidIdError as error:
            return _refusal(str(error), 400)
        return JsonResponse(props, headers=sse.PRIVATE)

    return view


def _run_shown(
    run: Callable[..., Any] | None, request: HttpRequest, url_arguments: dict[str, Any]
) -> Any:
    if run is None:
        if not url_arguments["run_id"].strip():
            raise InvalidIdError("run_id is empty")
        return url_arguments["run_id"]
    try:
        return run(request, **url_arguments)
    except ConfigurationError:
        raise
    except ValueError as error:
        # Its text is the project's own, and may show values that are not the visitor's.
        raise InvalidIdError("There is no such run.") from error


def _is_allowed(result: Any) -> bool:
    # An awaitable is true, whatever it would return.
    return bool(async_to_sync(_awaited)(result) if inspect.isawaitable(result) else result)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _run(request: HttpRequest, run_id: str) -> sse.Source:
    return sse.shared(get_client().subscribe_to_run, run_id, skip_columns=("payload",))


def _stream(request: HttpRequest, run_id: str, key: str) -> sse.Source:
    client = get_client()
    return sse.shared(client.subscribe_to_stream, run_id, key, skip_columns=("payload",))


run_events = events_view(_run)
stream_events = events_view(_stream)
