"""Who is to close an engine, and is told when that was forgotten."""

from __future__ import annotations

import warnings

from .engine import Engine

# How many of the things that are still followed a warning names.
MOST_NAMED = 3


class EngineOwner:
    """What a client holds of its engine, together with the copies that its handles hold.

    The engine's threads keep the engine and never this, so it is garbage once nobody can close the
    client any more. If something is followed then, a `ResourceWarning` says so, as for files.

    Args:
        engine: what is owned.
        base_url: of the client, for the warning.
    """

    __slots__ = ("__weakref__", "_base_url", "engine")

    def __init__(self, engine: Engine, base_url: str) -> None:
        self.engine = engine
        self._base_url = base_url

    def __del__(self) -> None:
        # Whatever is interrupted by this may hold any lock: none is taken here.
        followed = self.engine.registry.followed()
        if not followed:
            return
        named = ", ".join(followed[:MOST_NAMED])
        if len(followed) > MOST_NAMED:
            named += f" and {len(followed) - MOST_NAMED} more"
        warnings.warn(
            f"unclosed RealtimeClient of {self._base_url}, which goes on to follow {named}:"
            " close() it, or use it in a with statement",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
