"""Which fault the next request gets: decided by a seed, for each target on its own.

Requests of different targets race with each other, so each target draws from a sequence of its own:
the n-th request of a target meets the same fault in every run of a seed.
"""

from __future__ import annotations

import random
import threading

import attrs

# Never the end of a subscription, by docs/protocol.md, section 5: all of these are to be survived.
WEIGHTS = {
    "delay": 3,
    "drip": 2,
    "cut": 4,
    "cut head": 2,
    "reset": 3,
    "half-close": 2,
    "no answer": 1,
    "stall": 0.4,
    "twice": 2,
    "buffer": 0.5,
    "stale": 3,
    "not http": 1,
    "not json": 1,
    "html": 1,
    "500": 2,
    "502": 1,
    "503": 1,
    "504": 1,
    "524": 1,
    "408": 0.5,
    "429": 1,
    "401": 1,
    "204": 1,
    "must-refetch": 1,
    "offset out of bounds": 1,
}
# Answers that only the feed of runs gives: no news, and two ways to say that its shape is gone.
OF_A_FEED = frozenset({"stale", "204", "must-refetch", "offset out of bounds"})
# A few of these in a row are taken for the server's own words, and end a subscription.
UNREADABLE = frozenset({"not json", "html"})
# By these a client can't tell that the server's own answer was lost: it finds out when it looks.
UNSUSPICIOUS = frozenset({"204", "stale", "401", "408", "429", "503"})
RETRY_AFTER = 0.15
# No answer arrives, whether or not the server has sent one.
REFUSED_UNHEARD = frozenset({"reset", "no answer", "stall"})
# The answer is refused before anything of it is read: the next request waits for the back-off.
REFUSED = frozenset({"reset", "no answer", "500", "502", "503", "504", "524", "408"})


@attrs.frozen
class Fault:
    """What happens to one request.

    Attributes:
        kind: a key of `WEIGHTS`, or "" for none.
        at: after how many bytes of the answer, where it is cut; bytes at a time, where it drips.
        seconds: how long it is delayed.
        late: a made-up answer, or a reset, comes only when the server has answered, which is lost.
    """

    kind: str = ""
    at: int = 0
    seconds: float = 0.0
    late: bool = False


NONE = Fault()


class Buffering:
    """A plan of its own: the body of every stream is withheld until its end."""

    def next(self, target: str, *, live: bool, stream: bool) -> Fault:
        return Fault("buffer") if stream else NONE

    def accepted(self, target: str) -> None:
        """Nothing: it refuses no token."""


class Plan:
    """The faults of one seed.

    Args:
        seed: decides everything.
        share: of the requests that meet a fault.
        without: kinds of fault that are left out.
        looks: whether clients look so often that they find out what nothing tells them.
    """

    def __init__(
        self,
        seed: int,
        share: float = 0.45,
        without: frozenset[str] = frozenset(),
        looks: bool = True,
    ) -> None:
        self._seed = seed
        self._share = share
        self._looks = looks
        self._kinds = [kind for kind in WEIGHTS if kind not in without]
        self._weights = [WEIGHTS[kind] for kind in self._kinds]
        # Protects the sequences.
        self._lock = threading.Lock()
        self._sequences: dict[str, random.Random] = {}
        self._last: dict[str, str] = {}
        # Targets whose token was good since it was last refused.
        self._accepted: set[str] = set()
        self._calm = False

    def calm(self) -> None:
        """No more faults: whatever was lost can be had now."""
        self._calm = True

    def accepted(self, target: str) -> None:
        """Note that the server took the target's token, and that the client knows."""
        with self._lock:
            self._accepted.add(target)

    def next(self, target: str, *, live: bool, stream: bool) -> Fault:
        """The fault of the next request of a target.

        Args:
            live: whether it is a live poll.
            stream: whether it is one of a stream.
        """
        with self._lock:
            rng = self._sequences.setdefault(target, random.Random(f"{self._seed} {target}"))
            fault = self._draw(rng)
            is_fair = self._is_fair(target, fault.kind, stream)
            if not is_fair or (fault.kind == "204" and not live):
                fault = NONE
            self._last[target] = fault.kind
            return NONE if self._calm else fault

    def _draw(self, rng: random.Random) -> Fault:
        share, kind = rng.random(), rng.choices(self._kinds, self._weights)[0]
        at, seconds = rng.choice([1, 7, 60, 300, 1500]), rng.uniform(0.0, 0.05)
        at = rng.randint(1, at)
        late = rng.random() < 0.5 and (self._looks or kind not in UNSUSPICIOUS)
        return Fault(kind, at, seconds, late) if share < self._share else NONE

    def _is_fair(self, target: str, kind: str, stream: bool) -> bool:
        last = self._last.get(target, "")
        if kind in UNREADABLE and (last in UNREADABLE or stream):
            return False
        if kind == "buffer" and not stream:
            return False
        if kind in OF_A_FEED and (stream or "/realtime/" not in target):
            return False
        if kind == "401":
            # A token that is refused right after it was renewed is no good.
            was_good = target in self._accepted
            self._accepted.discard(target)
            return was_good
        return True
