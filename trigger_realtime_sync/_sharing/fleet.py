"""What a client owns to share with others: its hub, its audiences, and what makes its sources."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import attrs

from .._channel.feeds import Feeds
from .._channel.requesters import Requesters
from .._channel.run_view import RunView
from .._channel.sources import NETWORK, Sources
from .._channel.target import Target
from .._decode.rows import RowDecoder
from .._feeds.buffering import Buffering
from .._feeds.run_feed import OnChanges
from .._feeds.sources import RunSource, SingleRunSource, StreamSource
from .._http.requester import Origin, Requester
from .._http.tokens import Token
from .._wire.names import SKIP_COLUMNS, run_path
from ..errors import ConfigurationError, ShapeStale, TriggerRealtimeError
from .entries import Codec
from .hub import Hub, StartThread, Wanted
from .link import HubLink
from .run_follower import RunFollower
from .run_pump import RunPump
from .shared_log import SharedLog
from .status import SharedTarget
from .stream_follower import StreamFollower
from .stream_pump import StreamPump
from .stream_replica import StreamReplica, index_of
from .tailing import Tailer
from .topic import Pump, Subject, Topic

logger = logging.getLogger("trigger_realtime_sync")

# How the paths begin that a gateway asks for.
FEEDS = "/realtime/v1/"
AUDIENCE_OF_TOKEN = b"trigger-realtime-sync audience"


class Store(Protocol):
    """Where a fleet shares, and how: the options of the user."""

    @property
    def lease(self) -> float: ...

    @property
    def lead(self) -> bool: ...

    @property
    def audience(self) -> str | None: ...

    @property
    def on_outage(self) -> str: ...

    @property
    def history(self) -> int: ...

    def make_codec(self) -> Codec: ...

    def make_log(self, codec: Codec, process: str) -> SharedLog: ...


@attrs.frozen(kw_only=True)
class FleetOptions:
    """What a fleet needs of its client.

    Attributes:
        store: where to share.
        base_url: the client's own server.
        own_token: returns the client's own token, whose audience the user may have named.
        branch: the preview branch.
        patience: seconds for which the end of a finished run's streams is sought.
        make_origin: returns where to ask for a target, and with which token.
        buffering: returns what is known of proxies on the way to a server.
        start_thread: starts a thread.
    """

    store: Store
    base_url: str
    own_token: Callable[[], Token | None]
    branch: str | None
    patience: float
    make_origin: Callable[[Target], Origin]
    buffering: Callable[[str], Buffering]
    start_thread: StartThread


class Fleet:
    """One client's part in its fleet."""

    def __init__(self, options: FleetOptions) -> None:
        self._options = options
        self._leads_for_others = False
        # Protects the making of the hub, which connects only when something is followed.
        self._lock = threading.Lock()
        self._made: Hub | None = None
        self._stopped = False
        self.codec = options.store.make_codec()
        self.log: SharedLog

    # Followers.

    def sources(self, target: Target) -> Sources:
        """Return what a channel of this target reads with."""
        audience = self._audience_of(target.token)
        if audience is None:
            logger.info(
                "%s: its token has no audience; this process reads for itself", target.label
            )
            return NETWORK
        streams = target.streams
        # It begins where the user says, which the log need not have.
        is_placed = streams is not None and (
            streams.start_index is not None or streams.from_latest or streams.last_event_id
        )
        return Sources(
            runs=partial(SharedFeeds, self, audience),
            stream=None if is_placed else partial(self._stream, target, audience),
        )

    def _audience_of(self, token: Token) -> str | None:
        """Return who may read what this token reads; None where that can't be said."""
        own, named = self._options.own_token(), self._options.store.audience
        if named is not None and (token is own or token == own):
            return f"named {named}"
        if callable(token):
            return None
        return hmac.new(str(token).encode(), AUDIENCE_OF_TOKEN, hashlib.sha256).hexdigest()

    def subject(self, target: Target, audience: str, stream: Any = None) -> Subject:
        """Return what is read."""
        # It may be an option of each subscription; the path has the rest.
        branch = self._options.branch
        return Subject(target, stream, branch, audience)

    def link(self, subject: Subject, requester: Requester) -> tuple[HubLink, Tailer]:
        """Return a new follower's way to the hub, and its log."""
        hub = self._hub()
        tailer = Tailer(self.log, subject.key, self.codec)
        is_direct = self._options.store.on_outage == "direct"
        return HubLink(hub, subject, requester, tailer, is_direct=is_direct), tailer

    def _stream(
        self,
        target: Target,
        audience: str,
        requester: Requester,
        run_id: str,
        key: str,
        cursor: Any,
        **options: Any,
    ) -> StreamSource:
        """Return what reads one stream; for arguments see `StreamFeed`."""
        from .._feeds.stream_feed import StreamFeed

        subject = self.subject(target, audience, (run_id, key))
        link, tailer = self.link(subject, requester)
        place = cursor.last_event_id
        index = 0 if place is None else index_of(place)

        def make_direct(cursor: Any, on_parts: Any) -> StreamSource:
            return StreamFeed(requester, run_id, key, cursor, **{**options, "on_parts": on_parts})

        if index is None:
            return make_direct(cursor, options["on_parts"])
        names = ("timeout", "on_parts", "writer", "on_end", "ends_when_idle", "on_answer")
        return StreamFollower(
            link,
            tailer,
            requester,
            replica=StreamReplica(index, place),
            cursor=cursor,
            make_direct=make_direct,
            **{name: options[name] for name in names},
        )

    # Leaders.

    def _hub(self) -> Hub:
        with self._lock:
            if self._made is None:
                self._made = self._new_hub()
            return self._made

    def _new_hub(self) -> Hub:
        store = self._options.store
        process = secrets.token_hex(8)
        self.log = store.make_log(self.codec, process)
        return Hub(
            self.log,
            lease=store.lease,
            leads=store.lead or self._leads_for_others,
            name=f"{socket.gethostname()}:{os.getpid()}".replace(" ", "_"),
            process=process,
            make_pump=self._make_pump,
            start_thread=self._options.start_thread,
            wanted=Wanted(self._described) if self._leads_for_others else None,
        )

    def _make_pump(self, topic: Topic) -> Pump:
        options, subject = self._options, topic.subject
        target = subject.target
        origin = options.make_origin(target)

        def on_end(error: TriggerRealtimeError | None) -> None:
            self._hub().resign(topic, error)

        if subject.stream is None:
            return RunPump(
                target, origin, self.log, topic.key, topic.token, options.start_thread, on_end
            )
        return StreamPump(
            *subject.stream,
            origin,
            self.log,
            topic.key,
            topic.token,
            on_end,
            places=topic,
            history=options.store.history,
            patience=options.patience,
            buffering=options.buffering(target.base_url),
        )

    def lead_for_others(self) -> None:
        """Lead whatever the fleet follows with this client's audience, from now on.

        Raises:
            ConfigurationError: the client has no token of its own.
            RuntimeError: it follows something itself.
        """
        if self._options.own_token() is None:
            raise ConfigurationError("a client without an access_token can't read for others")
        with self._lock:
            if self._made is not None:
                raise RuntimeError("this client follows something itself: use another one")
            self._leads_for_others = True
        self._hub().start()

    def _described(self, key: str, text: str) -> Subject | None:
        """Return what a follower described, if this client may lead it."""
        token = self._options.own_token()
        audience = None if token is None else self._audience_of(token)
        try:
            told = json.loads(text)
            if told["audience"] != audience or token is None:
                return None
            target = Target(
                kind=str(told["kind"]),
                subject=str(told["subject"]),
                path=str(told["path"]),
                query=tuple((str(name), str(value)) for name, value in told["query"]),
                base_url=str(told["base_url"]),
                token=token,
            )
            stream = told["stream"] and (str(told["stream"][0]), str(told["stream"][1]))
            subject = Subject(target, stream, told["branch"], told["audience"])
        except (ValueError, TypeError, KeyError, IndexError):
            return None
        return subject if subject.key == key and self._is_own(subject) else None

    def _is_own(self, subject: Subject) -> bool:
        """Return True if the client would ask this itself. Whoever can write to the store could
        describe anything, and must not be sent the token."""
        is_here = subject.target.base_url == self._options.base_url
        is_feed = subject.path.startswith(FEEDS) and ".." not in subject.path
        return is_here and is_feed and subject.branch == self._options.branch

    # Status, and the end.

    @property
    def led(self) -> tuple[SharedTarget, ...]:
        """What this process leads."""
        return tuple(_status(topic) for topic in self._topics() if topic.leads)

    @property
    def followed(self) -> tuple[SharedTarget, ...]:
        """What this process follows."""
        return tuple(_status(topic) for topic in self._topics() if topic.links)

    def _topics(self) -> list[Topic]:
        hub = self._made
        return [] if hub is None else sorted(hub.topics(), key=lambda one: one.subject.label)

    @property
    def away(self) -> str | None:
        """What is wrong with the store, None while it answers."""
        hub = self._made
        return None if hub is None else hub.away

    def stop(self) -> None:
        """Give up everything that is led, and end all threads."""
        with self._lock:
            hub = self._made
        if hub is not None:
            hub.stop()

    def join(self, deadline: float) -> None:
        """Wait for the thread of a gateway, until a time of `time.monotonic()`."""
        hub = self._made
        if hub is not None:
            hub.join(deadline)


def _status(topic: Topic) -> SharedTarget:
    contact = topic.contact
    age = None if contact is None else max(time.time() - contact, 0.0)
    return SharedTarget(topic.subject.label, age, topic.leader)


class SharedFeeds(Feeds):
    """The sources of one channel, all by the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        audience: str,
        target: Target,
        requesters: Requesters,
        decoder: RowDecoder,
        view: RunView,
    ) -> None:
        super().__init__(target, requesters, decoder, view)
        self._fleet = fleet
        self._audience = audience
        self._shared = attrs.evolve(target, streams=None)
        self._row_decoder = decoder
        self._run_view = view

    def of_target(
        self,
        requester: Requester,
        on_changes: OnChanges,
        on_stale: Callable[[ShapeStale], None],
    ) -> RunSource:
        direct = super().of_target
        return self._follower(
            self._shared,
            requester,
            on_changes,
            on_stale,
            lambda tell: direct(requester, tell, on_stale),
        )

    def of_run(self, run_id: str, requester: Requester, on_changes: OnChanges) -> SingleRunSource:
        query = tuple((name, text) for name, text in self._shared.query if name == SKIP_COLUMNS)
        target = attrs.evolve(
            self._shared, kind="run", subject=run_id, path=run_path(run_id), query=query
        )
        direct = super().of_run
        follower = self._follower(
            target,
            requester,
            on_changes,
            lambda error: None,
            lambda tell: direct(run_id, requester, tell),
        )
        return SharedRun(follower, direct(run_id, requester, on_changes))

    def _follower(
        self,
        target: Target,
        requester: Requester,
        on_changes: OnChanges,
        on_warning: Callable[[Any], None],
        make_direct: Callable[[OnChanges], RunSource],
    ) -> RunFollower:
        subject = self._fleet.subject(target, self._audience)
        link, tailer = self._fleet.link(subject, requester)
        return RunFollower(
            link,
            tailer,
            requester,
            decoder=self._row_decoder,
            told=self._run_view.known,
            on_changes=on_changes,
            on_warning=on_warning,
            make_direct=make_direct,
        )


class SharedRun:
    """A run that is followed singly: by the fleet, which holds one poll for all. Looks at it hold
    none, and are each process's own."""

    def __init__(self, follower: RunFollower, feed: SingleRunSource) -> None:
        self._feed = feed
        self.run = follower.run
        self.look = feed.look

    @property
    def requests(self) -> int:
        return self._feed.requests

    def forget_seen(self) -> None:
        """Nobody asks for that."""
