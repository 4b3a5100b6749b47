"""A real S2, and the server's route before it. Where none is installed, the tests are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.interop import official
from tests.s2.process import COMMAND, CREATING, S2, binary
from tests.s2.route import Route
from tests.s2.wire import Wire
from tests.s2.writer import Writer
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if binary() is None:
        reason = f"no S2 is installed: {COMMAND} gets it, S2_BINARY names another"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@attrs.frozen
class Place:
    """An S2 with its route, the server of the runs, and what a test starts there."""

    s2: S2
    runs: RealtimeServer
    route: Route
    connect: Callable[..., RealtimeClient]
    stack: ExitStack

    def client(self, **options: Any) -> RealtimeClient:
        return self.connect(self.route, **options)

    def create_run(self, *keys: str) -> str:
        return self.runs.create_run(status="EXECUTING", realtime_streams=list(keys))

    def wire(self) -> Wire:
        wire = Wire(self.s2.port)
        self.stack.callback(wire.close)
        return wire

    def writer(self, endpoint: str, run_id: str, key: str, **options: Any) -> Writer:
        reason = official.why_not()
        if reason is not None:
            pytest.skip(reason)
        writer = Writer(endpoint, run_id, key, **options)
        self.stack.callback(writer.kill)
        return writer


@pytest.fixture
def place(tmp_path: Path, connect: Callable[..., RealtimeClient]) -> Iterator[Callable[..., Place]]:
    """Starts an S2: `place(disk=True)` for one that survives being killed."""
    with ExitStack() as stack:

        def make(*, disk: bool = False, basin: str = CREATING, **options: Any) -> Place:
            s2 = stack.enter_context(S2(tmp_path, disk=disk))
            runs = stack.enter_context(RealtimeServer(**options))
            route = stack.enter_context(Route(s2, runs, basin))
            return Place(s2, runs, route, connect, stack)

        yield make


@pytest.fixture(scope="module")
def shared_s2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S2]:
    """One S2 in memory for all tests of a file; each has streams of its own."""
    with S2(tmp_path_factory.mktemp("s2")) as s2:
        yield s2
