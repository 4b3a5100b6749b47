"""The receivers of one channel: notified in one order, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from .._decode.kept_runs import LeftRun
from ..errors import TriggerRealtimeError
from ..models import AnyRun
from .part_store import PartStore


class ChannelReceiver(Protocol):
    """What a channel needs of a receiver. `notify…` and `take_from` are called under the channel's
    lock, `end` and `wake` without it."""

    @property
    def id(self) -> str:
        """The id of its subscription."""

    @property
    def stops_on_completion(self) -> bool:
        """Whether it wants no more of a single run once that is complete."""

    @property
    def is_complete(self) -> bool:
        """Whether it wants nothing more."""

    def notify(
        self, runs: Mapping[str, AnyRun], finished: Collection[str], complete: Collection[str]
    ) -> None:
        """Called when runs changed.

        Args:
            runs: their new states by row key.
            finished: the row keys of finished runs.
            complete: the subset whose streams are drained as well.
        """

    def notify_left(self, row_key: str, left: LeftRun) -> None:
        """Called when a run is no longer part of what is followed."""

    def notify_all_there_are(self, row_keys: Collection[str]) -> None:
        """Called when runs may have left while it was not notified: these are left."""

    def notify_drained(self, row_key: str, run: AnyRun) -> None:
        """Called when the streams of a finished run are drained, though more may still come."""

    def notify_complete(self, row_key: str, run: AnyRun | None) -> None:
        """Called when the streams of an already reported finished run are over; None: when a
        session is closed."""

    def notify_parts(self, run_id: str, key: str) -> None:
        """Called when a stream may have new parts."""

    def take_from(self, store: PartStore) -> None:
        """Take parts from this store; the store applies backpressure for it from now on."""

    def notify_failure(
        self, topic: str, error: TriggerRealtimeError, *, urgent: bool = False
    ) -> None:
        """Called when a row or part can't be decoded, or one stream of many is lost.

        Args:
            urgent: whether it must be delivered before what is posted after it.
        """

    def forget_delivered(self) -> None:
        """Take the next state of every run as new."""

    def end(self, error: TriggerRealtimeError | None) -> None:
        """Called when everything was notified, or this error ended it."""

    def wake(self) -> None:
        """Make waiters re-check their condition."""


class Audience:
    """The receivers of one channel. Iterate over them under the lock.

    Args:
        stop: called, without the lock, when the last receiver has ended.

    Attributes:
        lock: held while receivers are notified, so that each sees the same order. It protects
            everything here, and the state of the channel.
        ended: whether there will never be a receiver again.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.lock = threading.Lock()
        self.ended = False
        self._stop = stop
        self._receivers: list[ChannelReceiver] = []

    # Under the lock.

    def add(self, receiver: ChannelReceiver) -> None:
        """Notify this receiver too from now on."""
        self._receivers.append(receiver)

    def __iter__(self) -> Iterator[ChannelReceiver]:
        return iter(self._receivers)

    # Without the lock.

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the subscriptions. Takes no lock: it is asked for while anything is logged."""
        return tuple(receiver.id for receiver in list(self._receivers))

    def remove(self, receiver: ChannelReceiver) -> bool:
        """Remove a receiver.

        Returns:
            Whether it was the last one; the channel is then stopped.
        """
        with self.lock:
            if receiver in self._receivers:
                self._receivers.remove(receiver)
            if self._receivers:
                return False
            self.ended = True
        self._stop()
        return True

    def wake(self) -> None:
        """Make all waiters re-check their condition."""
        with self.lock:
            receivers = list(self._receivers)
        for receiver in receivers:
            receiver.wake()

    def report(self, topic: str, error: TriggerRealtimeError) -> None:
        """Notify every receiver of something that lasts, or that is lost."""
        with self.lock:
            for receiver in self._receivers:
                receiver.notify_failure(topic, error)

    def end_complete(self) -> None:
        """End the receivers that want no more, and the channel with the last of them."""
        self._end(lambda receiver: receiver.is_complete)

    def end_all(self) -> None:
        """End every receiver: there is no more."""
        self._end(lambda receiver: True)

    def fail(self, error: TriggerRealtimeError) -> None:
        """End every receiver with an error."""
        with self.lock:
            if self.ended:
                return
            self.ended = True
            receivers, self._receivers = self._receivers, []
        self._stop()
        for receiver in receivers:
            receiver.end(error)

    def _end(self, is_to_end: Callable[[ChannelReceiver], bool]) -> None:
        with self.lock:
            ending = [receiver for receiver in self._receivers if is_to_end(receiver)]
            if not ending:
                return
            self._receivers = [one for one in self._receivers if one not in ending]
            if not self._receivers:
                self.ended = True
        if self.ended:
            self._stop()
        for receiver in ending:
            receiver.end(None)
