"""One round of chaos: what is subscribed to, what happens to it, and what must hold."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trigger_realtime_sync import RealtimeClient, StreamRewound, StreamTrimmed
from trigger_realtime_sync.testing import RealtimeServer

PATIENCE = 40.0
# What is told of a stream that lost something. A world in which nothing is lost takes it for wrong.
LOSSES = (StreamRewound, StreamTrimmed)
SECRET = "SECRETofTHEchaosTESTS"


class Token:
    """Another token for each request, so that one that was refused can be replaced. It tells the
    proxy whose request it is: the number of the subscription."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._counter = itertools.count()

    def __call__(self) -> str:
        return f"tr_{SECRET}_{self._number}_{next(self._counter)}"


class Watcher:
    """Callbacks that check, as they are called, what must hold of one subscription."""

    def __init__(self, name: str, seconds: float = 0.0) -> None:
        self.name = name
        self._seconds = seconds
        self.called = threading.Event()
        # Protects what is below.
        self._lock = threading.Lock()
        self._running = 0
        self.wrong: list[str] = []
        self.versions: dict[str, int] = {}
        self.completed: list[str] = []
        self.parts: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.losses: list[Any] = []
        self.cancelled = False
        self.subscription: Any = None

    @contextmanager
    def _call(self, what: str) -> Iterator[None]:
        with self._lock:
            if self.cancelled:
                self.wrong.append(f"{what} after cancel() returned")
            if self._running:
                self.wrong.append(f"{what} while another callback runs")
            self._running += 1
        self.called.set()
        yield
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1

    def on_update(self, run: Any) -> None:
        with self._call("on_update"):
            version = run.metadata["version"] if run.metadata else 0
            before = self.versions.get(run.id, -1)
            if version <= before:
                self.wrong.append(f"{run.id}: version {version} after {before}")
            if run.id in self.completed:
                self.wrong.append(f"{run.id}: on_update after on_complete")
            self.versions[run.id] = version

    def on_complete(self, run: Any) -> None:
        with self._call("on_complete"):
            if run.id in self.completed:
                self.wrong.append(f"{run.id}: on_complete twice")
            if not run.is_finished:
                self.wrong.append(f"{run.id}: on_complete as {run.status}")
            self.completed.append(run.id)

    def on_error(self, error: Any) -> None:
        with self._call("on_error"):
            if isinstance(error, LOSSES):
                self.losses.append(error)
            else:
                self.wrong.append(f"on_error: {error!r}")

    def on_stream(self, *arguments: Any) -> None:
        with self._call("on_stream"):
            *where, parts = arguments
            run_id = where[0] if len(where) == 2 else ""
            if not parts:
                self.wrong.append("on_stream without parts")
            self.parts[(run_id, where[-1])] += parts

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "on_update": self.on_update,
            "on_complete": self.on_complete,
            "on_error": self.on_error,
        }

    def cancel(self) -> None:
        self.subscription.cancel()
        with self._lock:
            # A callback that runs may finish; none may begin.
            self.cancelled = True


class World:
    """The server's runs, which only go forward: a run's version counts its states."""

    def __init__(self, server: RealtimeServer, client: RealtimeClient, seed: int) -> None:
        self.server = server
        self.client = client
        self.rng = random.Random(seed)
        self.versions: dict[str, int] = {}
        self.written: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.watchers: list[Watcher] = []
        self.waits: list[tuple[Watcher, Callable[[], Any], list[str]]] = []
        self.victims: list[Watcher] = []

    # --- what is there

    def subscribe(self) -> None:
        """Every kind of subscription, and some that will be cancelled on the way."""
        singles = [self._run() for _ in range(3)]
        tagged = [self._run(tags=["chaos"]) for _ in range(5)]
        batched = [self._run() for _ in range(3)]
        streaming = [self._run(realtime_streams=["a", "b"], tags=["streams"]) for _ in range(2)]
        batch = self.server.batch(*batched)
        for run in singles:
            self._follow(f"run {run}", [run], self.client.subscribe_to_run, run)
        self._follow("tag", tagged, self.client.subscribe_to_runs_with_tag, "chaos", many=True)
        self._follow("batch", batched, self.client.subscribe_to_batch, batch)
        for run in streaming:
            self._follow(
                f"streams {run}",
                [run],
                self.client.subscribe_to_run_with_streams,
                run,
                streams=True,
            )
        self._follow(
            "streams of a tag",
            streaming,
            self.client.subscribe_to_runs_with_streams,
            "streams",
            many=True,
            streams=True,
        )
        self._follow_stream(streaming[0], "a")
        for number in range(4):
            self._follow(
                f"victim {number}", [], self.client.subscribe_to_runs_with_tag, "chaos", slow=True
            )

    def _run(self, **options: Any) -> str:
        run = self.server.create_run(status="EXECUTING", metadata={"version": 1}, **options)
        self.versions[run] = 1
        return run

    def _follow(
        self,
        name: str,
        runs: list[str],
        subscribe: Callable[..., Any],
        subject: str,
        *,
        many: bool = False,
        streams: bool = False,
        slow: bool = False,
    ) -> None:
        # Slower than `cancel()` waits: what is queued behind a callback must be dropped.
        watcher = Watcher(name, seconds=0.03 if slow else 0.0)
        if slow:
            self.victims.append(watcher)
        more = {"on_stream": watcher.on_stream} if streams else {}
        subscription = watcher.subscription = subscribe(
            subject, **watcher.callbacks, **more, access_token=Token(len(self.watchers))
        )
        self.watchers.append(watcher)
        if runs:
            options = {"expected": len(runs)} if many else {}
            self.waits.append(
                (watcher, lambda: subscription.wait_for_completion(PATIENCE, **options), runs)
            )

    def _follow_stream(self, run: str, key: str) -> None:
        watcher = Watcher(f"stream {key} of {run}")
        self.watchers.append(watcher)
        subscription = watcher.subscription = self.client.subscribe_to_stream(
            run,
            key,
            on_stream=watcher.on_stream,
            on_error=watcher.on_error,
            access_token=Token(len(self.watchers)),
        )
        self.waits.append((watcher, lambda: subscription.wait_for_completion(PATIENCE), []))

    # --- what happens

    def storm(self, seconds: float) -> None:
        """Changes, rotations, dropped connections and cancellations, in an order that the seed
        decides."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._happen(self.rng.random())
            time.sleep(self.rng.uniform(0.0, 0.02))

    def _happen(self, what: float) -> None:
        run = self.rng.choice(list(self.versions))
        if what < 0.55:
            self._change(run)
        elif what < 0.93:
            self._write()
        elif what < 0.96:
            self.server.drop_connections(reset=self.rng.random() < 0.5)
        elif what < 0.98 and self.victims:
            self.victims.pop().cancel()
        else:
            self._lose_the_shape(self.rng.random())

    def _change(self, run: str) -> None:
        self.versions[run] += 1
        self.server.update_run(run, metadata={"version": self.versions[run]})

    def _write(self) -> None:
        run = self.rng.choice([r for r in self.versions if self._streams_of(r)])
        key = self.rng.choice(["a", "b"])
        count = self.rng.choice([1, 1, 2, 5, 40])
        number = len(self.written[(run, key)])
        parts = [self._part(number + n) for n in range(count)]
        self.written[(run, key)] += parts
        self._append(run, key, parts)

    def _append(self, run: str, key: str, parts: list[Any]) -> None:
        self.server.append(run, key, *parts)

    def _part(self, number: int) -> Any:
        texts = [
            f"part {number} ",
            {"n": number},
            number,
            f"{number}\nü\u2028",
            f"{number}" + "x" * 2000,
        ]
        return self.rng.choice(texts)

    def _streams_of(self, run: str) -> bool:
        return any(run in watcher.name for watcher in self.watchers if "streams" in watcher.name)

    def _lose_the_shape(self, how: float) -> None:
        if how < 0.5:
            self.server.rotate(keep_handle=how < 0.1, send_handle=how < 0.3)
        else:
            self.server.restore()
            self.server.drop_connections()

    def lose_streams(self) -> None:
        """Nothing: what Redis has it keeps."""

    def finish(self) -> None:
        """Cancel the remaining victims amid their callbacks, and complete every run: from now on
        the last states and parts are known."""
        for victim in self.victims:
            victim.called.clear()
            for run in self.versions:
                self._change(run)
            victim.called.wait(5)
            victim.cancel()
        for run in self.versions:
            self.versions[run] += 1
            self.server.complete_run(
                run, output={"run": run}, metadata={"version": self.versions[run]}
            )

    # --- what must hold

    def check(self) -> list[str]:
        """Wait for every subscription, and return what is wrong."""
        wrong: list[str] = []
        for watcher, wait, runs in self.waits:
            try:
                wait()
            except Exception as error:  # noqa: BLE001 (told with the rest)
                wrong.append(f"{watcher.name}: {error!r} ({watcher.subscription})")
                continue
            wrong += self._check_last_states(watcher, runs)
            wrong += self._check_parts(watcher)
        for watcher in self.watchers:
            wrong += [f"{watcher.name}: {line}" for line in watcher.wrong]
        return wrong

    def _check_last_states(self, watcher: Watcher, runs: list[str]) -> list[str]:
        wrong = []
        for run in runs:
            last, told = self.versions[run], watcher.versions.get(run)
            if told != last:
                wrong.append(f"{watcher.name}: last told version of {run} is {told}, not {last}")
            if watcher.completed.count(run) != 1:
                wrong.append(f"{watcher.name}: on_complete of {run} was not called once")
        shown = getattr(watcher.subscription, "runs", None) or [watcher.subscription.run]
        outputs = {run.id: run.output for run in shown}
        wrong += [
            f"{watcher.name}: shows {outputs.get(run)!r} as the output of {run}, not {shown}"
            for run in runs
            if outputs.get(run) != {"run": run}
        ]
        return wrong

    def _difference(self, watcher: Watcher, run: str, key: str, parts: list[Any]) -> str:
        if watcher.losses:
            return f"lost something: {watcher.losses}"
        return difference(parts, self.written[(run, key)])

    def _check_parts(self, watcher: Watcher) -> list[str]:
        wrong = []
        for (run, key), parts in watcher.parts.items():
            run = run or watcher.name.rpartition(" ")[2]
            if found := self._difference(watcher, run, key, parts):
                wrong.append(f"{watcher.name}: {key} of {run}: {found}")
        if "streams run" in watcher.name or watcher.name == "streams of a tag":
            told = {(run or watcher.name.rpartition(" ")[2], key) for run, key in watcher.parts}
            expected = {one for one, parts in self.written.items() if parts}
            if watcher.name != "streams of a tag":
                expected = {one for one in expected if one[0] in watcher.name}
            if told != expected:
                wrong.append(f"{watcher.name}: read {told}, not {expected}")
        return wrong


def difference(told: list[Any], written: list[Any]) -> str:
    """Return where two lists of parts differ, in words; nothing if they don't."""
    for place, (one, other) in enumerate(zip(told, written, strict=False)):
        if one != other:
            return f"part {place} of {len(written)} is {one!r:.60}, not {other!r:.60}"
    return f"{len(told)} parts, not {len(written)}" if len(told) != len(written) else ""
