"""Both clients on one server, in step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.interop.compare import differences, run_differences
from tests.interop.official import Official, Told, is_required, why_not
from trigger_realtime_sync import RealtimeClient, RetryPolicy, Timeouts
from trigger_realtime_sync.testing import RealtimeServer

PATIENCE = 20.0


@pytest.fixture(scope="session")
def official() -> Iterator[Official]:
    reason = why_not()
    if reason is not None:
        if is_required():
            pytest.fail(f"{reason} (this is CI, where it must be)")
        pytest.skip(reason)
    client = Official()
    yield client
    client.close()


class Ours:
    """What our client delivers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.runs: list[Any] = []
        self.parts: list[tuple[str, Any]] = []
        self.errors: list[Any] = []
        self.subscription: Any = None

    def on_update(self, run: Any) -> None:
        with self._changed:
            self.runs.append(run)
            self._changed.notify_all()

    def on_stream(self, key: str, parts: list[Any]) -> None:
        with self._changed:
            self.parts += [(key, part) for part in parts]
            self._changed.notify_all()

    def on_error(self, error: Any) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait_for(self, *, runs: int = 0, parts: int = 0) -> None:
        def reached() -> bool:
            return len(self.runs) >= runs and len(self.parts) >= parts

        with self._changed:
            if not self._changed.wait_for(reached, PATIENCE):
                raise AssertionError(
                    f"ours told {len(self.runs)} runs and {len(self.parts)} parts, not {runs} and"
                    f" {parts}; {self.subscription}; errors: {self.errors}"
                )


class Both:
    """One subscription of each, compared state by state and part by part.

    After the test neither may have delivered anything that was not compared, unless the test says
    that they differ by `is_compared = False`.
    """

    is_compared = True

    def __init__(self, theirs: Told, ours: Ours, settle: Callable[[], object]) -> None:
        self.theirs = theirs
        self.ours = ours
        self._settle = settle
        self._runs = [0, 0]
        self._parts = [0, 0]

    @property
    def subscription(self) -> Any:
        return self.ours.subscription

    def states(
        self,
        action: Callable[[], Any] | None = None,
        *,
        count: int = 1,
        theirs: int | None = None,
        ours: int | None = None,
        why: str = "",
        ours_only: Collection[str] = (),
    ) -> None:
        """Do something, wait until both clients have delivered this many states, and compare them.

        Args:
            theirs, ours: instead of `count`, where the clients differ on purpose, for the reason
                `why`. The last states are compared.
            ours_only: fields that the official client does not have.
        """
        wanted = [count if one is None else one for one in (theirs, ours)]
        assert bool(why) == (wanted[0] != wanted[1]), "a difference on purpose needs its reason"
        if action is not None:
            self._settle()
            action()
        before, self._runs = self._runs, [a + b for a, b in zip(self._runs, wanted, strict=True)]
        self.theirs.wait_for(runs=self._runs[0])
        self.ours.wait_for(runs=self._runs[1])
        told = self.theirs.runs[before[0] : self._runs[0]]
        seen = self.ours.runs[before[1] : self._runs[1]]
        least = min(len(told), len(seen))
        for one, other in zip(told[len(told) - least :], seen[len(seen) - least :], strict=True):
            found = run_differences(one, other)
            left = [line for line in found if not _is_expected(line, ours_only)]
            assert left == [], f"state of {other.id}"

    def new_parts(self, action: Callable[[], Any], count: int) -> None:
        """Do something, wait until both have delivered this many parts, and compare them."""
        action()
        before, self._parts = self._parts, [told + count for told in self._parts]
        self.theirs.wait_for(parts=self._parts[0])
        self.ours.wait_for(parts=self._parts[1])
        theirs = self.theirs.parts[before[0] : self._parts[0]]
        for one, (key, value) in zip(theirs, self.ours.parts[before[1] :], strict=True):
            assert one.get("key", key) == key
            assert list(differences(one["value"], value)) == []

    def nothing_more(self) -> None:
        """Check that neither client delivered anything that was not compared."""
        assert [len(self.theirs.runs), len(self.ours.runs)] == self._runs
        assert [len(self.theirs.parts), len(self.ours.parts)] == self._parts
        assert self.ours.errors == []


def _is_expected(difference: str, ours_only: Collection[str]) -> bool:
    return difference.startswith(tuple(f"{place}: None there" for place in ours_only))


class Pair:
    """Subscribes with both clients."""

    def __init__(
        self, server: RealtimeServer, official: Official, client: RealtimeClient, url: str
    ) -> None:
        self.server = server
        self.client = client
        self._url = url
        self._official = official
        self._all: list[Both] = []

    def run(self, run_id: str, *, skip_columns: list[str] | None = None) -> Both:
        return self._both(
            self._official.subscribe("run", self._url, run_id, skip_columns=skip_columns),
            lambda **options: self.client.subscribe_to_run(
                run_id, skip_columns=skip_columns or (), **options
            ),
        )

    def tag(
        self, tag: Any, *, skip_columns: list[str] | None = None, created_at: str | None = None
    ) -> Both:
        return self._both(
            self._official.subscribe(
                "tag", self._url, tag, skip_columns=skip_columns, created_at=created_at
            ),
            lambda **options: self.client.subscribe_to_runs_with_tag(
                tag, skip_columns=skip_columns or (), created_at=created_at, **options
            ),
            settle=lambda: self._until_theirs_polls("runs"),
        )

    def batch(self, batch_id: str) -> Both:
        return self._both(
            self._official.subscribe("batch", self._url, batch_id),
            lambda **options: self.client.subscribe_to_batch(batch_id, **options),
            settle=lambda: self._until_theirs_polls("batch"),
        )

    def run_with_streams(self, run_id: str) -> Both:
        return self._both(
            self._official.subscribe("run_with_streams", self._url, run_id),
            lambda **options: self.client.subscribe_to_run_with_streams(run_id, **options),
            streams=True,
        )

    def stream(self, run_id: str, key: str, **options: Any) -> Both:
        def subscribe(**callbacks: Any) -> Any:
            del callbacks["on_update"]
            return self.client.subscribe_to_stream(run_id, key, **callbacks, **options)

        told = self._official.subscribe("stream", self._url, run_id, key=key, **options)
        return self._both(told, subscribe, streams=True)

    def _until_theirs_polls(self, kind: str) -> None:
        """Wait for a live poll of theirs. Before it they fetch ahead in vain, which moves native's
        working set: what changed meanwhile they would not be told."""

        def is_theirs(request: Any) -> bool:
            return request.kind == kind and "tr_official" in request.headers["authorization"]

        self.server.wait_for_requests(1, match=is_theirs, live=True, timeout=PATIENCE)

    def _both(
        self,
        theirs: Told,
        subscribe: Callable[..., Any],
        *,
        streams: bool = False,
        settle: Callable[[], object] = lambda: None,
    ) -> Both:
        ours = Ours()
        callbacks: dict[str, Any] = {"on_update": ours.on_update, "on_error": ours.on_error}
        if streams:
            callbacks["on_stream"] = ours.on_stream
        ours.subscription = subscribe(**callbacks)
        both = Both(theirs, ours, settle)
        self._all.append(both)
        return both

    def close(self) -> None:
        for both in self._all:
            both.theirs.stop()
            if both.is_compared:
                both.nothing_more()


@pytest.fixture
def make_pair(official: Official) -> Iterator[Callable[..., Pair]]:
    """Starts a server, and a client of ours for it: `make_pair("electric", streams="v1")`.

    `through` makes a proxy for a URL, which both clients then use; `timeouts` are ours.
    """
    with ExitStack() as stack:

        def make(
            backend: str = "native",
            *,
            through: Callable[[str], Any] | None = None,
            timeouts: Timeouts | None = None,
            **options: Any,
        ) -> Pair:
            server = stack.enter_context(RealtimeServer(backend=backend, **options))  # type: ignore[arg-type]
            quick = RetryPolicy(initial_delay=0.05, max_delay=0.5)
            proxy = server if through is None else stack.enter_context(through(server.url))
            client = stack.enter_context(
                RealtimeClient(
                    "tr_ours", base_url=proxy.url, retry=quick, timeouts=timeouts or Timeouts()
                )
            )
            pair = Pair(server, official, client, proxy.url)
            stack.callback(pair.close)
            return pair

        yield make


@pytest.fixture(params=["native", "electric"])
def pair(request: pytest.FixtureRequest, make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(request.param)
