"""What a subscription reads: two of the same target under one id share a connection."""

from __future__ import annotations

from typing import Any

import attrs

from ._protocol.rows import RowDecoder
from ._sources.packets import PacketFetcher
from ._transport.requester import Origin, segment
from ._transport.tokens import Token
from .models import Task


@attrs.frozen(kw_only=True)
class Target:
    """Everything that decides what is asked of the server, and how its rows are typed."""

    kind: str
    subject: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    base_url: str
    token: Token = attrs.field(repr=False)
    tasks: tuple[Task[Any, Any], ...] = ()

    @property
    def label(self) -> str:
        """Names it in thread names, errors and logs."""
        return f"{self.kind} {self.subject}"

    @property
    def is_single(self) -> bool:
        return self.kind == "run"

    @property
    def is_batch(self) -> bool:
        return self.kind == "batch"

    def decoder(self, origin: Origin) -> RowDecoder:
        fetch = PacketFetcher(origin)
        if self.is_single:
            return RowDecoder(fetch=fetch, any_task=self.tasks[0] if self.tasks else None)
        return RowDecoder(self.tasks, fetch)


def run_path(run_id: str) -> str:
    return f"/realtime/v1/runs/{segment(run_id)}"


def batch_path(batch_id: str) -> str:
    return f"/realtime/v1/batches/{segment(batch_id)}"


RUNS_PATH = "/realtime/v1/runs"
