"""Tags for pages that follow a run by themselves.

    {% load trigger_realtime %}
    {% realtime_run handle as run %}{{ run|json_script:"run" }}
    <script>const { runId, accessToken, baseURL } = JSON.parse(run.textContent)</script>

    <div data-token="{% realtime_token order.run_id expires_in="1h" %}"></div>

Each takes a handle, a `Run` or an id, and raises `TypeError` for nothing. The view must have
checked that this user may see this run, all of it: see `trigger_realtime_sync.contrib.page`.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from ... import page
from .. import conf
from ..client import get_client

register = template.Library()


@register.simple_tag
def realtime_script() -> SafeString:
    """Return the script of `follow()`, to stand inside a `<script>`.

    It is the static file `trigger_realtime/follow.js` too, for pages that load it.
    """
    return mark_safe(page.follow_script())


@register.simple_tag
def realtime_token(run: Any, **options: Any) -> str:
    """Return a public token that reads exactly this run: see `page.run_token`."""
    return page.run_token(get_client(), run, **options)


@register.simple_tag
def realtime_run(run: Any, **options: Any) -> dict[str, str]:
    """Return what the official hooks need to follow this run: see `page.run_props`."""
    return page.run_props(get_client(), run, base_url=conf.browser_url(), **options)
