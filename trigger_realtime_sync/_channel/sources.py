"""What a channel reads with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from .._decode.rows import RowDecoder
from .feeds import Feeds
from .requesters import Requesters
from .run_view import RunView
from .target import Target

if TYPE_CHECKING:
    from .stream_opener import MakeStreamSource

MakeFeeds = Callable[[Target, Requesters, RowDecoder, RunView], Feeds]


@attrs.frozen
class Sources:
    """Makes the sources of a channel's runs and streams.

    Attributes:
        runs: makes what makes the sources of its runs.
        stream: makes the source of a stream; None for the feed over the network, which only a
            channel that reads streams imports.
    """

    runs: MakeFeeds = Feeds
    stream: MakeStreamSource | None = None


NETWORK = Sources()
