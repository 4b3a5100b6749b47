"""Connecting to a host of several addresses: the next is tried soon, beside the first (RFC 8305).

One that leads nowhere, an IPv6 without a route say, would cost each connection its whole time-out.
"""

from __future__ import annotations

import math
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any

from .._clock import monotonic
from .call import watch

# Seconds before the next address is tried as well (RFC 8305, section 5).
STAGGER_SECONDS = 0.25

# Seconds after which it is looked whether the call was cut off: not every system ends the wait when
# a socket that is not connected is shut down.
LOOK_SECONDS = 0.25

# Family, kind, protocol, canonical name and address, as `socket.getaddrinfo` returns them.
Info = tuple[Any, Any, int, str, Any]


class Addresses:
    """The order in which the addresses of one host are tried. Safe from any thread."""

    def __init__(self) -> None:
        self._last: Any = None

    def ordered(self, infos: Sequence[Info]) -> list[Info]:
        """Return the addresses by families in turn, the one that worked last before all others."""
        families: dict[Any, list[Info]] = {}
        for info in infos:
            families.setdefault(info[0], []).append(info)
        in_turn = chain.from_iterable(zip_longest(*families.values()))
        found = [info for info in in_turn if info is not None]
        return sorted(found, key=lambda info: info[4] != self._last)

    def worked(self, address: Any) -> None:
        """Try this address first from now on."""
        self._last = address


class _Race:
    """Several attempts at a time to connect to one host; this thread's call can cut them all off.

    Args:
        prepare: called with each new socket.
        seconds: for all attempts together.
    """

    def __init__(
        self, infos: Iterable[Info], prepare: Callable[[socket.socket], None], seconds: float
    ) -> None:
        self._waiting = deque(infos)
        self._prepare = prepare
        # Within a short time-out each address has its turn as well.
        self._stagger = min(STAGGER_SECONDS, seconds / max(1, len(self._waiting)))
        self._deadline = monotonic() + seconds
        self._next_at = 0.0
        self._attempts: dict[socket.socket, Any] = {}
        self._failure = OSError("the host has no address")

    def run(self) -> tuple[socket.socket, Any]:
        """Return the first socket that is connected, and its address.

        Raises:
            OSError: no address can be connected to; for the last reason.
            Interrupted, Nudged: the call was cut off.
        """
        try:
            while True:
                now = monotonic()
                if self._waiting and (now >= self._next_at or not self._attempts):
                    self._begin(self._waiting.popleft())
                    self._next_at = now + self._stagger
                elif not self._attempts:
                    raise self._failure
                elif now >= self._deadline:
                    raise TimeoutError("timed out")
                if (winner := self._first_connected()) is not None:
                    watch(winner)
                    return winner, self._attempts.pop(winner)
        finally:
            for sock in self._attempts:
                sock.close()

    def _begin(self, info: Info) -> None:
        family, kind, protocol, _, address = info
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            self._failure = error
            return
        self._attempts[sock] = address
        try:
            self._prepare(sock)
            sock.setblocking(False)
            watch(sock)
            sock.connect(address)
        except BlockingIOError:
            # The call may have been cut off before there was anything to shut down.
            watch(sock)
        except OSError as error:
            self._give_up(sock, error)

    def _first_connected(self) -> socket.socket | None:
        until = min(self._deadline, self._next_at) if self._waiting else self._deadline
        seconds = min(LOOK_SECONDS, until - monotonic())
        ended = _ready(list(self._attempts), seconds)
        self._watch_newest()
        for sock in ended:
            if (error := _error_of(sock)) is None:
                return sock
            self._give_up(sock, error)
        return None

    def _give_up(self, sock: socket.socket, error: OSError) -> None:
        del self._attempts[sock]
        sock.close()
        self._failure = error
        self._next_at = 0.0
        self._watch_newest()

    def _watch_newest(self) -> None:
        """Let a cut-off call shut down a socket that is still waited for; raise if it was."""
        watch(next(reversed(self._attempts), None))


def _ready(socks: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Return the sockets whose attempt has ended, within so many seconds."""
    if not socks:
        return []
    seconds = max(0.0, seconds)
    if not hasattr(select, "poll"):
        _, connected, failed = select.select([], socks, socks, seconds)
        return [sock for sock in socks if sock in connected or sock in failed]
    # Not select(), which takes no descriptor above 1023.
    poll = select.poll()
    for sock in socks:
        poll.register(sock, select.POLLOUT)
    ended = {descriptor for descriptor, _ in poll.poll(math.ceil(seconds * 1000))}
    return [sock for sock in socks if sock.fileno() in ended]


def _error_of(sock: socket.socket) -> OSError | None:
    """Return why an attempt failed, or None if it did not."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return OSError(code, os.strerror(code))
    try:
        sock.getpeername()
    except OSError as error:
        return error
    return None


def connect(
    addresses: Addresses,
    infos: Sequence[Info],
    prepare: Callable[[socket.socket], None],
    seconds: float,
) -> socket.socket:
    """Return a socket that is connected to one of a host's addresses.

    Args:
        infos: what `socket.getaddrinfo` returned.
        prepare: called with each new socket.
        seconds: for all attempts together.

    Raises:
        OSError: none can be connected to.
        Interrupted, Nudged: this thread's call was cut off.
    """
    sock, address = _Race(addresses.ordered(infos), prepare, seconds).run()
    addresses.worked(address)
    return sock
