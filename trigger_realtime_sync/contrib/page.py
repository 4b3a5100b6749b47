"""What a page is given to follow one run by itself, with the official React hooks say; and the
script by which it follows a relay. Needs no framework.

    props = run_props(client, handle, base_url="https://api.trigger.dev")
    # {"runId": "run_…", "accessToken": "eyJ…", "baseURL": "https://api.trigger.dev"}

    useRealtimeRun(props.runId, { accessToken: props.accessToken, baseURL: props.baseURL })

The token reads this run and nothing else, and the secret key never leaves the server. Whoever has
it sees all of the run, its payload and output too, which a `Relay` does not show: give it to those
alone who may see that, keep pages that hold it out of shared caches, and let the page ask for
another one before it expires.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from .. import InvalidIdError, RealtimeClient, Run, RunHandle

__all__ = ["FOLLOW_SCRIPT", "TOKEN_LIFE", "follow_script", "run_props", "run_token"]

FOLLOW_SCRIPT = Path(__file__).parent / "django" / "static" / "trigger_realtime" / "follow.js"
"""The file of `follow()`, for a relay in a page. It needs no build step: its head says the rest."""

TOKEN_LIFE = timedelta(minutes=15)
"""How long a token is good for. A page that follows a run for longer asks for another one."""

AnyRun = RunHandle[Any, Any] | Run[Any, Any] | str


@functools.cache
def follow_script() -> str:
    """Return the script of `follow()`, to stand in a page between `<script>` and `</script>`."""
    return FOLLOW_SCRIPT.read_text(encoding="utf-8")


def run_token(
    client: RealtimeClient,
    run: AnyRun,
    *,
    expires_in: timedelta | str | int = TOKEN_LIFE,
    skip_columns: Iterable[str] = (),
    call_timeout: float | None = None,
) -> str:
    """Return a public access token that reads exactly one run.

    With a root key it is made here, without a request but for the client's first.

    Args:
        client: has a secret key.
        run: a handle, a run, or its id.
        expires_in: a timedelta, whole seconds, or a duration such as `"1h"`.
        skip_columns: columns that a subscription with it never shows, `"payload"` say. The REST API
            shows them nevertheless.
        call_timeout: seconds for that request, instead of the client's.

    Raises:
        TypeError: `run` is something else, such as a list, or nothing.
        InvalidIdError: its id can't be one.
        ValueError: another argument can't work.
        ConfigurationError: the client has no secret key.
        ApiError, ApiConnectionError: the server was asked in vain.
    """
    return client.create_public_token(
        read={"runs": [_id_of(run)]},
        expires_in=expires_in,
        skip_columns=skip_columns,
        call_timeout=call_timeout,
    )


def run_props(
    client: RealtimeClient, run: AnyRun, *, base_url: str, **options: Any
) -> dict[str, str]:
    """Return what the official hooks need to follow a run, by the names that they have there.

    Args:
        client: has a secret key.
        run: a handle, a run, or its id.
        base_url: of the API, as browsers reach it.
        options: see `run_token`, which also says what is raised.
    """
    return {
        "runId": _id_of(run),
        "accessToken": run_token(client, run, **options),
        "baseURL": base_url.rstrip("/"),
    }


def _id_of(run: Any) -> str:
    if isinstance(run, (RunHandle, Run)):
        return run.id
    if isinstance(run, str) and not run.isprintable():
        raise InvalidIdError(f"no id of a run: {run!r}")
    if isinstance(run, str) and run.strip():
        return run
    # Templates turn what they don't find into an empty text.
    raise TypeError(f"a token needs a run: a handle, a Run or an id, not {run!r}")
