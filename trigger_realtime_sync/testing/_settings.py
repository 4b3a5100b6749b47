"""What a server of the round trip can be set to."""

from __future__ import annotations

import attrs


@attrs.define
class RoundTrip:
    """Set by the owner, also while requests are answered. Times are seconds.

    Attributes:
        buffering: how long a new run is held in a buffer: REST finds it, its feed is a 404
            (docs/protocol.md, section R2).
        trigger_seconds: how long the server works on a trigger before the run exists. It goes on
            when the client leaves, and remembers the request only when it is done
            (docs/protocol.md, section R1).
        keep_alive: how long a connection without a request is kept; None: for good. Node's servers
            keep it for 5 s.
        object_store: packets can be uploaded (docs/protocol.md, section R3).
        uploads: False: a server that knows no `/api/v2/packets`.
        versions: the versions that are deployed.
        regions: the regions that there are.
        replay_overrides: a replay obeys its body, as servers after 4.5.12 do.
        list_lag: how long a new run is missing in lists of runs.
        mints: False: a server that knows no `/api/v1/auth/public-tokens`.
        session_channels: sessions have named channels, as servers after 4.5.12 do
            (docs/protocol.md, section R9).
        most_items: items of a batch.
        batch_seconds: how long an item of a batch waits until its run is made
            (docs/protocol.md, section R5).
        answers_sealed: False: a batch that has all its items refuses them, as older servers do.
        batch_runs: runs that batches may create at once, and how many come back in ten seconds;
            None: any number.
    """

    buffering: float = 0.0
    trigger_seconds: float = 0.0
    keep_alive: float | None = None
    object_store: bool = True
    uploads: bool = True
    versions: frozenset[str] = frozenset({"20261125.1"})
    regions: frozenset[str] = frozenset({"us-east-1", "eu-central-1"})
    replay_overrides: bool = False
    list_lag: float = 0.0
    mints: bool = True
    session_channels: bool = False
    most_items: int = 1000
    batch_seconds: float = 0.0
    answers_sealed: bool = True
    batch_runs: tuple[int, int] | None = None
