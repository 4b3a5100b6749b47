"""What all channels have in common: receivers, requesters, threads and a state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial

from .._http.log_fields import bound
from .._http.requester import Origin
from ..models import State
from .audience import Audience, ChannelReceiver
from .requesters import Requesters
from .run_view import RunView
from .target import Target

# Starts a thread, given its work and its name; tries again if that is impossible now.
StartThread = Callable[[Callable[[], None], str], None]


class BaseChannel:
    """Reads one target for the receivers of one id.

    Args:
        target: what to read.
        origin: where to ask, and with which token.
        view: the cached state, if any.
    """

    def __init__(self, target: Target, origin: Origin, view: RunView) -> None:
        self.target = target
        self.view = view
        self._audience = Audience(lambda: self.stop())
        # Protects everything below.
        self._lock = self._audience.lock
        self._state = State.CONNECTING
        self._requesters = Requesters(
            origin, target.label, partial(self._audience.report, f"{target.label}\0untrusted")
        )

    @property
    def state(self) -> State:
        """Where the reading stands."""
        # Under the lock: whoever sees LIVE also sees the snapshot that made it so.
        with self._lock:
            return self._state

    @property
    def last_contact(self) -> datetime | None:
        """When the server last answered anything (aware, UTC)."""
        contact = self._requesters.contact
        return None if contact is None else datetime.fromtimestamp(contact, timezone.utc)

    def start(self, start_thread: StartThread) -> None:
        """Start to read, on threads that `start_thread` starts."""
        self._start = start_thread

    def attach(self, receiver: ChannelReceiver) -> bool:
        """Add a receiver, and notify it of the current state first.

        Returns:
            Whether it was added: False when the channel has ended.
        """
        with self._lock:
            if self._audience.ended:
                return False
            # Its parts first: what is complete has parts to take before its end is posted.
            if self.view.parts is not None:
                receiver.take_from(self.view.parts)
            self._welcome(receiver)
            self._audience.add(receiver)
        self._audience.end_complete()
        return True

    def detach(self, receiver: ChannelReceiver) -> bool:
        """Remove a receiver.

        Returns:
            Whether it was the last one; the channel is then stopped.
        """
        return self._audience.remove(receiver)

    def stop(self) -> None:
        """End the reading threads, whatever they are blocked on."""
        self._requesters.stop()

    @property
    def notifying(self) -> threading.Lock:
        """The lock under which receivers are notified: while it is held, none is."""
        return self._audience.lock

    def forget_seen(self) -> None:
        """Take the next snapshot as new."""
        with self._lock:
            for receiver in self._audience:
                receiver.forget_delivered()

    def _start_thread(self, work: Callable[[], None], name: str) -> None:
        target = self.target
        self._start(
            bound(
                work,
                subscription_ids=lambda: self._audience.ids,
                target=target.label,
                run_id=target.subject if target.is_single else None,
            ),
            name,
        )

    def _on_trouble(self) -> None:
        self._state = State.RETRYING

    def _welcome(self, receiver: ChannelReceiver) -> None:
        """Called under the lock when a receiver joins: notify it of what is known."""
