"""Relays for event loops."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.contrib.events import Event, events_of
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync.contrib import asgi
from trigger_realtime_sync.contrib._open_relays import RELAYS
from trigger_realtime_sync.contrib.asgi import AsyncRelay, RelayResponse, end_relays_at_stop
from trigger_realtime_sync.contrib.sse import RelayLimits, end_relays, run_for_browser, shared
from trigger_realtime_sync.testing import RealtimeServer

THREAD = "trigger-realtime relays"


@pytest.fixture
def writer(server: RealtimeServer) -> str:
    return server.create_run(status="EXECUTING", metadata={"n": 0}, realtime_streams=["text"])


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Each test ends its relays."""
    yield
    eventually(lambda: not RELAYS, "a relay is still open")


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(main, 30)

    asyncio.run(bounded())


class Tab:
    """A browser of an ASGI application, without a server between."""

    def __init__(self, app: Any, path: str = "/", *, method: str = "GET", **scope: Any) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self._asked = False
        headers = scope.pop("headers", [])
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "client": ("10.0.0.1", 1),
            **scope,
        }
        self.task = asyncio.ensure_future(app(self._scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            return
        await self.reads.wait()
        self._chunks.put_nowait(message.get("body", b""))
        if not message.get("more_body"):
            self._chunks.put_nowait(b"")

    async def events(self) -> AsyncIterator[Event]:
        """The events until the response ends."""
        while chunk := await self._chunks.get():
            for event in events_of([chunk]):
                if event.name:
                    yield event

    async def next(self, name: str) -> Event:
        async for event in self.events():
            if event.name == name:
                return event
        raise AssertionError(f"it ended without {name}")

    async def names(self) -> list[str]:
        return [event.name async for event in self.events()]

    async def leave(self) -> None:
        self._gone.set()
        await self.task


@asynccontextmanager
async def tabs(app: Any, count: int) -> AsyncIterator[list[Tab]]:
    opened = [Tab(app) for _ in range(count)]
    yield opened
    for tab in opened:
        await tab.leave()


def response(client: Any, run_id: str, **options: Any) -> RelayResponse:
    options.setdefault("limits", RelayLimits(per_owner=None))
    return RelayResponse(shared(client.subscribe_to_run, run_id), **options)


def test_a_browser_sees_the_run_and_each_change_until_its_end(server, client, writer):
    """With the headers that keep proxies from caching and collecting."""

    async def main() -> None:
        tab = Tab(response(client, writer))
        assert (await tab.next("run")).data["metadata"] == {"n": 0}
        assert tab.status == 200
        assert tab.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in tab.headers["cache-control"]
        server.update_run(writer, metadata={"n": 1})
        assert (await tab.next("run")).data["metadata"] == {"n": 1}
        server.complete_run(writer)
        assert await tab.names() == ["run", "complete"]
        await tab.task

    run(main())
    eventually(lambda: not client.subscriptions)


def test_parts_come_once_and_in_order_and_go_on_where_they_were(server, client, writer):
    """By the id of the last event, as with any relay."""
    server.append(writer, "text", *"abc")

    async def main() -> None:
        source = shared(client.subscribe_to_run_with_streams, writer)
        tab = Tab(RelayResponse(source))
        part = await tab.next("part")
        assert part.data["parts"] == ["a", "b", "c"]
        await tab.leave()
        server.append(writer, "text", *"de")
        server.complete_run(writer)
        again = Tab(RelayResponse(source), headers=[(b"last-event-id", part.id.encode())])
        parts = [event.data["parts"] async for event in again.events() if event.name == "part"]
        assert [part for some in parts for part in some] == ["d", "e"]
        await again.task

    run(main())


def test_a_hundred_browsers_share_one_thread_and_one_connection(server, client, writer):
    """And the thread ends with the last of them."""

    async def main() -> None:
        async with tabs(response(client, writer), 100) as opened:
            for tab in opened:
                await tab.next("run")
            assert len(threads_named(THREAD)) == 1
            await asyncio.to_thread(server.wait_until_held, 1)
            assert server.open_connections == 1
            server.update_run(writer, metadata={"n": 1})
            for tab in opened:
                assert (await tab.next("run")).data["metadata"] == {"n": 1}

    run(main())
    server.wait_for_connections(0)
    eventually(lambda: not threads_named(THREAD), "the thread of relays is left", 10)


def test_a_browser_that_leaves_is_noticed_at_once(server, client, writer):
    """No keep-alive has to fail first, and nothing is logged."""

    async def main() -> None:
        tab = Tab(response(client, writer, keep_alive=3600))
        await tab.next("run")
        await tab.leave()
        await asyncio.to_thread(eventually, lambda: not client.subscriptions, "it is still read", 2)

    run(main())


def test_a_server_that_cancels_the_request_releases_the_run(server, client, writer):
    """As hypercorn and Django do when the browser is gone."""

    async def main() -> None:
        tab = Tab(response(client, writer))
        await tab.next("run")
        tab.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tab.task
        await asyncio.to_thread(eventually, lambda: not client.subscriptions)

    run(main())


def test_a_silence_is_broken_by_comments(client, writer):
    """As proxies want it."""

    async def main() -> None:
        relay = AsyncRelay(shared(client.subscribe_to_run, writer), keep_alive=0.05)
        seen = [await anext(relay) for _ in range(5)]
        assert seen[-1] == b": keep-alive\n\n"
        await relay.aclose()
        assert [chunk async for chunk in relay] == []

    run(main())


@pytest.mark.parametrize(
    ("source", "scope", "status"),
    [
        ("run_1", {"headers": [(b"last-event-id", b"end")]}, 204),
        ("run_1", {"method": "HEAD"}, 200),
        ("\n", {}, 400),
    ],
)
def test_requests_that_are_no_relay_are_answered(client, source, scope, status):
    """Without a subscription."""

    async def main() -> None:
        tab = Tab(response(client, source), **scope)
        await tab.task
        assert tab.status == status
        assert tab.headers["x-content-type-options"] == "nosniff"

    run(main())
    assert not client.subscriptions


def test_a_mistake_of_the_application_is_raised(client):
    """For its server to report; no visitor reads it."""

    def source(**callbacks: Any) -> Any:
        raise ValueError("the pin 1234 is wrong")

    async def main() -> None:
        with pytest.raises(ValueError, match="pin"):
            await Tab(RelayResponse(source)).task

    run(main())


def test_fastapi_sends_it_as_one_of_its_responses(server, client, writer):
    """It stands in the documentation of the API, and background tasks run after it."""
    fastapi = pytest.importorskip("fastapi", reason="FastAPI is not installed")
    from trigger_realtime_sync.contrib.fastapi import RelayResponse as Response

    api, done = fastapi.FastAPI(), list[str]()

    async def events(run_id: str, tasks: Any) -> Response:
        tasks.add_task(done.append, run_id)
        return Response(shared(client.subscribe_to_run, run_id))

    events.__annotations__ = {"run_id": str, "tasks": fastapi.BackgroundTasks}
    api.get("/runs/{run_id}", response_class=Response)(events)
    server.complete_run(writer)

    async def main() -> None:
        tab = Tab(api, f"/runs/{writer}")
        assert await tab.names() == ["run", "complete"]
        await tab.task

    run(main())
    assert done == [writer]
    answers = api.openapi()["paths"]["/runs/{run_id}"]["get"]["responses"]
    assert "text/event-stream" in answers["200"]["content"]


class User:
    is_authenticated = True

    def __init__(self, name: str) -> None:
        self.display_name = name

    @property
    def identity(self) -> str:
        raise NotImplementedError


def test_a_user_may_look_at_so_many_runs_at_a_time(client, writer):
    """By who is logged in, else by address; the next is answered 429 with `Retry-After`."""

    async def main() -> None:
        app = response(client, writer, limits=RelayLimits(per_owner=1))
        opened: list[Tab] = []

        async def status(**scope: Any) -> int:
            opened.append(Tab(app, **scope))
            await asyncio.wait_for(_started(opened[-1]), 10)
            return opened[-1].status

        assert [await status(), await status(client=("10.0.0.2", 1))] == [200, 200]
        assert [await status(user=User("a")), await status(user=User("b"))] == [200, 200]
        assert [await status(), await status(user=User("a"))] == [429, 429]
        assert int(opened[-1].headers["retry-after"]) > 0
        for tab in opened:
            await tab.leave()

    run(main())


async def _started(tab: Tab) -> None:
    while not tab.status:
        await asyncio.sleep(0.005)


def test_a_slow_function_delays_its_own_browser_alone(server, client, writer):
    """`run_to_dict` may query a database; the thread that all relays share does not wait."""
    entered, goes_on = threading.Event(), threading.Event()

    def slow(run: Any) -> dict[str, Any]:
        entered.set()
        goes_on.wait(20)
        return run_for_browser(run)

    async def main() -> None:
        waits = Tab(response(client, writer, run_to_dict=slow))
        await asyncio.to_thread(entered.wait, 10)
        tab = Tab(response(client, writer))
        assert (await tab.next("run")).data["metadata"] == {"n": 0}
        server.update_run(writer, metadata={"n": 1})
        assert (await tab.next("run")).data["metadata"] == {"n": 1}
        goes_on.set()
        await waits.next("run")
        await tab.leave()
        await waits.leave()

    run(main())


def test_a_function_that_raises_ends_the_response(client, writer):
    """Its error is the server's to report."""

    def breaks(run: Any) -> dict[str, Any]:
        raise RuntimeError("as the test wants it")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="as the test"):
            await Tab(response(client, writer, run_to_dict=breaks)).task

    run(main())


def test_somebody_elses_subscription_is_relayed_and_left_running(server, client, writer):
    """Its iterator is asked for news, as nobody can wait for them."""

    async def main() -> None:
        with client.subscribe_to_run(writer) as subscription:
            tab = Tab(RelayResponse(subscription))
            await tab.next("run")
            server.update_run(writer, metadata={"n": 1})
            assert (await tab.next("run")).data["metadata"] == {"n": 1}
            await tab.leave()
            assert not subscription.state.is_ended

    run(main())


def test_a_relay_ends_with_its_process_or_its_age_and_not_the_run(client, writer, monkeypatch):
    """Nothing tells the browser that the run has ended."""
    monkeypatch.setattr(RELAYS, "is_ending", False)

    async def main() -> None:
        assert await Tab(response(client, writer, max_age=0.1)).names() in ([], ["run"])
        tab = Tab(response(client, writer, keep_alive=3600))
        await tab.next("run")
        started = asyncio.get_running_loop().time()
        end_relays()
        assert await tab.names() == []
        assert asyncio.get_running_loop().time() - started < 5
        await tab.task

    run(main())


def test_a_browser_that_takes_nothing_is_left_after_a_while(server, client, writer, monkeypatch):
    """A write that is blocked ends after its time, and a second after the process should stop."""
    monkeypatch.setattr(RELAYS, "is_ending", False)
    monkeypatch.setattr(asgi, "WRITE_SECONDS", 0.2)

    async def main() -> None:
        tab = Tab(response(client, writer))
        tab.reads.clear()
        await tab.task
        monkeypatch.setattr(asgi, "WRITE_SECONDS", 3600)
        waits, blocked = Tab(response(client, writer)), Tab(response(client, writer))
        await waits.next("run")
        await blocked.next("run")
        blocked.reads.clear()
        server.update_run(writer, metadata={"n": 1})
        await waits.next("run")
        waits.reads.clear()
        end_relays()
        await asyncio.wait_for(asyncio.gather(waits.task, blocked.task), 10)

    run(main())


def test_a_relay_whose_loop_has_ended_is_given_back(client, writer):
    """By the thread of relays, which finds nobody to tell."""
    kept: list[Any] = []

    async def main() -> None:
        relay = AsyncRelay(shared(client.subscribe_to_run, writer), keep_alive=0.2)
        await anext(relay)
        while b"event: run" not in await anext(relay):
            pass
        kept.append((relay, asyncio.ensure_future(anext(relay))))
        await asyncio.sleep(0)

    run(main())
    eventually(lambda: not client.subscriptions, "it is still followed")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was called at a signal; the handlers of this process are put back."""
    called: list[str] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(RELAYS, "end", lambda: called.append("relays"))
    for number in before:
        signal.signal(number, lambda number, frame: called.append("server"))
    yield called
    for number, handler in before.items():
        signal.signal(number, handler)


async def _nothing(*asked: Any) -> None:
    pass


@pytest.mark.parametrize("kind", ["lifespan", "http"])
def test_the_servers_own_handler_is_called_after_ours(handlers, kind):
    """Put there when the server announces its start, or with the first request; once."""
    app = end_relays_at_stop(_nothing)

    async def main() -> None:
        for _ in range(3):
            await app({"type": kind}, _nothing, _nothing)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    run(main())
    assert handlers == ["relays", "server"] * 2


def test_handlers_of_the_event_loop_are_called_too(handlers):
    """hypercorn's, which Python does not call itself."""
    app = end_relays_at_stop(_nothing)

    async def main() -> None:
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, told.set)
        await app({"type": "lifespan"}, _nothing, _nothing)  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGTERM)
        assert handlers == ["relays"]
        await asyncio.wait_for(told.wait(), 10)
        loop.remove_signal_handler(signal.SIGTERM)

    run(main())


def test_outside_of_the_main_thread_no_handler_is_set(handlers):
    """It could not be; the application works."""
    app = end_relays_at_stop(_nothing)
    thread = threading.Thread(
        target=asyncio.run,
        args=(app({"type": "http"}, _nothing, _nothing),),  # type: ignore[arg-type]
    )
    thread.start()
    thread.join(10)
    signal.raise_signal(signal.SIGTERM)
    assert handlers == ["server"]
