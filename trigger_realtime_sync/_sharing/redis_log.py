"""The shared log in Redis: a stream for each key, a lease beside it, and Pub/Sub to deliver.

Redis delivers what is published at most once, and cuts off a subscriber that is too slow; the log
repairs. Redis Cluster is not supported: a process claims all its keys in one script.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from .._clock import monotonic
from .entries import Codec, EntryId, Placed, Unreadable
from .redis_scripts import APPEND, CLAIM, RELEASE
from .shared_log import (
    ALONE,
    ANY,
    BEYOND_SHARE,
    Append,
    Appended,
    Claim,
    Fenced,
    Listener,
    LogAway,
    Moved,
    Share,
    Standing,
)

# How long a log that nobody writes or leads stays.
LIFE_SECONDS = 24 * 3600
# Bytes of an entry beyond which only its id is published: the buffers of subscribers are bounded.
MOST_PUBLISHED = 256 << 10
# How many keys one script claims: it holds Redis up for some 10 µs for each.
MOST_CLAIMED = 200
# How many messages are handled in a row before claims are looked at again.
MOST_HEARD = 500


class RedisLog:
    """See `SharedLog`.

    Args:
        client: a `redis.Redis` whose answers are bytes. It is kept: without it, the connections of
            its subscriptions would be closed under their reader.
        is_own: whether its connections are closed in the end.
        prefix: how all keys begin.
        lease: seconds that a lease lasts.
        process: names this process.
    """

    def __init__(
        self,
        client: Any,
        *,
        is_own: bool,
        prefix: str,
        lease: float,
        codec: Codec,
        process: str,
    ) -> None:
        import redis

        self._failures = (redis.RedisError, OSError)
        self._client = client
        self._is_own = is_own
        self._is_closed = False
        self._prefix = prefix
        self._lease = int(lease * 1000)
        self._codec = codec
        self._wake_channel = f"{prefix}:wake:{process}"
        self._append = client.register_script(APPEND)
        self._claim = client.register_script(CLAIM)
        self._release = client.register_script(RELEASE)
        # Protects everything below, and what is sent on the connection that listens.
        self._lock = threading.Lock()
        self._pubsub: Any = None
        self._keys: set[str] = set()

    def _name(self, key: str, what: str) -> str:
        return f"{self._prefix}:{{{key}}}:{what}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        problem = None
        try:
            yield
        except self._failures as error:
            problem = f"{type(error).__name__}: {error}"
        finally:
            if self._is_closed:
                # By a thread that ends later than the one that closed it.
                self._close_own()
        if problem is not None:
            # Out here, where it gets no context: that would hold what was sent.
            raise LogAway(problem)

    def append(self, append: Append) -> Appended:
        blob = self._codec.encode(append.entry)
        tail = "*" if append.tail == ANY else str(append.tail or "")
        keep = "*" if append.keep_from == ALONE else str(append.keep_from or "")
        whole = len(blob) <= MOST_PUBLISHED
        life = LIFE_SECONDS * 1000
        keys = [self._name(append.key, "log"), self._name(append.key, "lease")]
        args = [append.token, tail, int(append.opens), blob, int(whole), life, keep]
        with self._answering():
            answer = self._append(keys=keys, args=args)
        if answer[0] == b"FENCED":
            raise Fenced
        if answer[0] == b"MOVED":
            raise Moved
        return Appended(EntryId.parse(answer[1].decode()), len(blob))

    def read(self, key: str, after: EntryId | None, most: int) -> list[Placed]:
        # Before Redis 6.2 a range can't leave out where it begins.
        start = "-" if after is None else str(after)
        with self._answering():
            found = self._client.xrange(self._name(key, "log"), start, "+", count=most + 1)
        placed = [self._placed(one) for one in found]
        return [one for one in placed if after is None or one.id > after][:most]

    def tail(self, key: str) -> Placed | None:
        with self._answering():
            found = self._client.xrevrange(self._name(key, "log"), count=1)
        return self._placed(found[0]) if found else None

    def _placed(self, found: tuple[bytes, dict[bytes, bytes]]) -> Placed:
        id_, fields = EntryId.parse(found[0].decode()), found[1]
        try:
            return Placed(id_, self._codec.decode(fields.get(b"e", b"")))
        except Unreadable:
            return Placed(id_, None)

    def claim(self, process: str, claims: Sequence[Claim], share: Share) -> list[Standing]:
        standings: list[Standing] = []
        for at in range(0, len(claims), MOST_CLAIMED):
            some = claims[at : at + MOST_CLAIMED]
            answers = self._claim_some(process, some, share)
            taken = [
                one.wants and two.token == one.token for one, two in zip(some, answers, strict=True)
            ]
            share = attrs.evolve(share, led=share.led + sum(taken), late=0)
            standings += answers
        return standings

    def _claim_some(self, process: str, claims: Sequence[Claim], share: Share) -> list[Standing]:
        keys = [f"{self._prefix}:processes", f"{self._prefix}:wanted"]
        args: list[Any] = [process, self._lease, LIFE_SECONDS * 1000]
        args += [share.keys, BEYOND_SHARE - share.led, share.late]
        for one in claims:
            begin = f"{self._prefix}:{{{one.key}}}:"
            keys += [begin + "log", begin + "lease", begin + "writer", begin + "target"]
            target = self._codec.seal(one.target) if one.target else b""
            args += [one.token, int(one.wants), one.says, one.writer, int(one.follows)]
            args += [one.key, target]
        with self._answering():
            found = self._claim(keys=keys, args=args)
        return [_standing(*one) for one in found]

    def release(self, key: str, token: str) -> None:
        with self._answering():
            self._release(keys=[self._name(key, "log"), self._name(key, "lease")], args=[token])

    def wanted(self) -> dict[str, str]:
        with self._answering():
            # Those that are over were removed by whoever claimed last.
            keys = [key.decode() for key in self._client.zrange(f"{self._prefix}:wanted", 0, -1)]
            found = self._client.mget([self._name(key, "target") for key in keys]) if keys else []
        targets = {}
        for key, sealed in zip(keys, found, strict=True):
            with suppress(Unreadable):
                targets[key] = self._codec.unseal(sealed or b"")
        return targets

    # What is published.

    def subscribe(self, keys: Sequence[str]) -> None:
        with self._lock:
            self._keys.update(keys)
            self._send("subscribe", [self._name(key, "log") for key in keys])

    def unsubscribe(self, keys: Sequence[str]) -> None:
        with self._lock:
            self._keys.difference_update(keys)
            self._send("unsubscribe", [self._name(key, "log") for key in keys])

    def wake(self) -> None:
        with self._lock:
            # Redis confirms it, which is what is waited for.
            self._send("subscribe", [self._wake_channel])

    def _send(self, command: str, channels: list[str]) -> None:
        """Send something on the connection that listens, if there is one. Its reader notices where
        that fails."""
        if self._pubsub is not None and channels:
            with suppress(*self._failures):
                getattr(self._pubsub, command)(*channels)

    def listen(self, listener: Listener, seconds: float) -> None:
        pubsub = self._pubsub or self._connect()
        ends = monotonic() + seconds
        try:
            with self._answering():
                for _ in range(MOST_HEARD):
                    # None at once may be an answer to a ping of the client's own.
                    message = pubsub.get_message(timeout=max(ends - monotonic(), 0.0))
                    if message is not None:
                        ends = 0.0
                        self._tell(message, listener)
                    elif monotonic() >= ends:
                        return
        except BaseException:
            self._disconnect()
            raise

    def _connect(self) -> Any:
        self._is_closed = False
        with self._lock, self._answering():
            pubsub = self._client.pubsub()
            try:
                pubsub.subscribe(
                    self._wake_channel, *(self._name(key, "log") for key in self._keys)
                )
            except BaseException:
                pubsub.close()
                raise
            self._pubsub = pubsub
            return pubsub

    def _disconnect(self) -> None:
        with self._lock:
            pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with suppress(*self._failures):
                pubsub.close()

    def _tell(self, message: dict[str, Any], listener: Listener) -> None:
        channel = message["channel"].decode()
        if channel == self._wake_channel:
            return
        key = channel.partition("{")[2].partition("}")[0]
        if message["type"] == "subscribe":
            listener.on_joined(key)
        elif message["type"] == "message":
            head, _, blob = message["data"].partition(b"\n")
            if head[:1] == b"e":
                listener.on_entry(key, EntryId.parse(head[2:].decode()), blob)
            else:
                listener.on_hint(key)

    def close(self) -> None:
        self._is_closed = True
        self._disconnect()
        self._close_own()

    def _close_own(self) -> None:
        if self._is_own:
            with suppress(*self._failures):
                self._client.close()


def _standing(value: bytes, left: int, tail: bytes, writer: bytes) -> Standing:
    token, _, says = value.decode().partition(" ")
    return Standing(
        token=token or None,
        says=says,
        left=max(left, 0) / 1000,
        tail=EntryId.parse(tail.decode()) if tail else None,
        writer=int(writer),
    )
