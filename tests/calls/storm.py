"""Random faults at every step of triggers, batches, uploads, inputs and wait tokens; afterwards the
server's books are compared with what the callers were told.

python -m tests.calls.storm                                    # 1,000 faults
python -m tests.calls.storm --faults 20000 --threads 8
python -m tests.calls.storm --seed 17                          # the one that failed
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from tests.support.settings import QUICK
from trigger_realtime_sync import (
    ApiConnectionError,
    ApiError,
    BatchItem,
    BatchTriggerError,
    CallTimeout,
    ClientClosed,
    ProtocolError,
    RealtimeClient,
    RetryPolicy,
    Timeouts,
    TriggerRealtimeError,
)
from trigger_realtime_sync._calls import patience
from trigger_realtime_sync._calls.uploads import LEAST_UPLOADED
from trigger_realtime_sync.testing import RealtimeServer

KEY = "tr_dev_test0000000000000000"
TASK = "t"
RECEIVER = "receiver"
CALL_RETRY = RetryPolicy(initial_delay=0.005, max_delay=0.03, max_retries=4)
# Seconds instead of 10 that a trigger without a key waits; the server is done well before.
LATER_SECONDS = 0.3
MOST_WORK_SECONDS = 0.03
# Seconds that a call may take beyond its time on a loaded machine.
SLACK_SECONDS = 5.0
# Seconds for which the items of batches may still become runs.
SETTLING_SECONDS = 30.0
CALLS_OF_A_CLIENT = 15
# A call with a key is made again until it is told: this often at the most.
MOST_CALLS = 60

FAULTS: list[dict[str, Any]] = [
    {"reset": True},
    {"reset": True, "lost": True},
    {"status": 500},
    {"status": 500, "lost": True},
    {"status": 500, "headers": {"x-should-retry": "false"}, "lost": True},
    {"status": 502, "lost": True},
    {"status": 503},
    {"status": 503, "lost": True},
    {"status": 503, "headers": {"retry-after": "0"}},
    {"status": 429, "headers": {"retry-after": "0"}},
    {"status": 429, "headers": {"retry-after": "90"}},
    {"status": 408},
    {"status": 409},
    {"status": 401},
    {"status": 403},
    {"status": 404},
    {"status": 413},
    {"status": 422},
    {"html": True},
    {"html": True, "lost": True},
    {"html": True, "status": 502},
    {"cut_at": 0},
    {"cut_at": 10},
    {"cut_body_at": 5},
    {"body": {}, "lost": True},
    {"delay": 0.2},
    {"stall": 0.1},
    {"stall": 0.1, "lost": True},
    {"stall": 3.0, "lost": True},
]
# The requests that belong to each kind of call.
STEPS = {
    "trigger with a key": ("trigger",),
    "trigger without a key": ("trigger",),
    "large trigger": ("packets", "presigned", "trigger"),
    "batch with a key": ("batch_create", "batch_items"),
    "batch without a key": ("batch_create", "batch_items"),
    "large batch": ("packets", "presigned", "batch_create", "batch_items"),
    "input": ("input",),
    "wait token": ("wait_token",),
}
# How many requests of each step meet a fault; fewer where it would mostly end the call.
USUAL_COUNTS = (0, 0, 1, 1, 2, 3, 6)
COUNTS = {
    "trigger without a key": (0, 0, 1, 2),
    "batch without a key": (0, 0, 0, 1),
    "input": (0, 0, 0, 1),
}
Name = tuple[int, int]


@attrs.define
class Call:
    """What was asked for, and what the caller was told of it.

    Attributes:
        items: how many runs were wanted.
        told: the ids that answers named.
        is_told: whether one call returned.
        is_doubted: whether an error said that it may have happened.
    """

    kind: str
    items: int = 1
    told: set[str] = attrs.field(factory=set)
    is_told: bool = False
    is_doubted: bool = False

    @property
    def end(self) -> str:
        """How it ended for its caller."""
        return "told" if self.is_told else "in doubt" if self.is_doubted else "refused"


class Storm:
    """Calls of several threads, whose requests meet faults, and the comparison of the books.

    Attributes:
        done: how many calls of each kind were made, and how they ended.
        wrong: what does not agree.
        struck: how many requests met a fault.
    """

    def __init__(self, server: RealtimeServer, seed: int, kinds: tuple[str, ...] = ()) -> None:
        self._server = server
        self._seed = seed
        self._kinds = kinds or tuple(STEPS)
        self._faults = 0
        # Protects everything below.
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.struck = 0
        self._calls: dict[Name, Call] = {}
        self._inputs: list[tuple[str, Name]] = []
        self._tokens: dict[Name, set[str]] = defaultdict(set)

    def run(self, faults: int, threads: int = 4) -> None:
        """Make calls until so many requests have met a fault, then compare."""
        self._faults = faults
        server = self._server
        server.settings.trigger_seconds = MOST_WORK_SECONDS
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self._work, ident) for ident in range(threads)]:
                done.result()
        server.clear_faults()
        self._compare()

    # One thread.

    def _work(self, ident: int) -> None:
        rng = random.Random(f"{self._seed} {ident}")
        numbers = itertools.count()
        while self.struck < self._faults and not self.wrong:
            # Another client now and then: it does not know yet whether the server takes uploads.
            with self._client() as client:
                run_id = client.trigger(RECEIVER).id
                for _ in range(CALLS_OF_A_CLIENT):
                    caller = _Caller(self, client, rng, (ident, next(numbers)), run_id)
                    caller.call(rng.choice(self._kinds))
                closing = threading.Timer(rng.uniform(0, MOST_WORK_SECONDS), client.close)
                closing.start()
                caller = _Caller(self, client, rng, (ident, next(numbers)), run_id, closes=True)
                caller.call(rng.choice(self._kinds))
                closing.join()

    def _client(self) -> RealtimeClient:
        return RealtimeClient(
            KEY,
            base_url=self._server.url,
            retry=QUICK,
            call_retry=CALL_RETRY,
            timeouts=Timeouts(read=5),
        )

    def order(self, fault: dict[str, Any], kind: str) -> None:
        """Let the next request of a kind, whoever sends it, meet a fault."""

        def strikes(request: Any) -> bool:
            # The run that inputs are sent to is made without.
            if request.kind != kind or f"/tasks/{RECEIVER}/" in request.path:
                return False
            with self._lock:
                self.struck += 1
            return True

        self._server.fail_next(match=strikes, **fault)

    def note(self, name: Name, call: Call) -> None:
        """Keep what a caller was told."""
        with self._lock:
            self._calls[name] = call

    def note_input(self, run_id: str, name: Name) -> None:
        """Keep what was sent to a run."""
        with self._lock:
            self._inputs.append((run_id, name))

    def note_token(self, name: Name, token_id: str) -> None:
        """Keep the id of a wait token."""
        with self._lock:
            self._tokens[name].add(token_id)

    def count(self, what: str) -> None:
        """Count what happened."""
        with self._lock:
            self.done[what] += 1

    def report(self, problem: str) -> None:
        """Keep what does not agree."""
        with self._lock:
            self.wrong.append(problem)

    # The books.

    def _compare(self) -> None:
        wanted = sum(
            call.items
            for call in self._calls.values()
            if call.is_told and call.kind not in ("input", "wait token")
        )
        deadline = time.monotonic() + SETTLING_SECONDS
        while len(self._made(told=True)) < wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        # What nobody was told of may be on its way.
        time.sleep(0.3)
        made: dict[Name, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for (name, item), ids in self._made().items():
            made[name][item] = ids
        for name, call in self._calls.items():
            if call.kind == "input":
                self._compare_input(name, call)
            elif call.kind == "wait token":
                if len(self._tokens[name]) > 1:
                    self.report(f"{name}: one key made the wait tokens {self._tokens[name]}")
            else:
                self._compare_runs(name, call, made[name])
        for name in made.keys() - self._calls.keys():
            self.report(f"{name}: runs {made[name]} that nobody asked for")

    def _made(self, *, told: bool = False) -> dict[tuple[Name, int], set[str]]:
        """Return the runs of each item that there are; of those that somebody was told of."""
        made: dict[tuple[Name, int], set[str]] = defaultdict(set)
        for one in self._server.triggered(TASK):
            if not isinstance(one.payload, dict):
                self.report(f"run {one.run_id} was made without its payload")
                continue
            ident, number, item = one.payload["n"]
            name = ident, number
            if not told or (name in self._calls and self._calls[name].is_told):
                made[name, item].add(one.run_id)
        return made

    def _compare_runs(self, name: Name, call: Call, made: dict[int, set[str]]) -> None:
        for item in range(call.items):
            ids = made.get(item, set())
            if len(ids) > 1:
                self.report(f"{name}, {call.kind}: item {item} made {len(ids)} runs")
            if call.is_told and not ids:
                self.report(f"{name}, {call.kind}: item {item} of {call.items} was lost")
            if not call.is_told and not call.is_doubted and ids:
                self.report(f"{name}, {call.kind}: a run though nothing was said to have happened")
            if call.items == 1 and call.told and call.told != ids and "batch" not in call.kind:
                self.report(f"{name}, {call.kind}: told of {call.told}, there is {ids}")

    def _compare_input(self, name: Name, call: Call) -> None:
        (run_id,) = {run_id for run_id, one in self._inputs if one == name}
        count = self._server.inputs(run_id, "s").count(list(name))
        if count > 1:
            self.report(f"{name}: an input was sent {count} times")
        if call.is_told and count != 1:
            self.report(f"{name}: an input was lost")
        if not call.is_told and not call.is_doubted and count:
            self.report(f"{name}: an input arrived though nothing was said to have happened")


@attrs.frozen
class _Caller:
    """Makes one call, with the faults that it is to meet.

    Attributes:
        closes: whether the client is closed meanwhile.
    """

    storm: Storm
    client: RealtimeClient
    rng: random.Random
    name: Name
    run_id: str
    closes: bool = False

    def call(self, kind: str) -> None:
        rng = self.rng
        for step in STEPS[kind]:
            for _ in range(rng.choice(COUNTS.get(kind, USUAL_COUNTS))):
                self.storm.order(rng.choice(FAULTS), step)
        call = Call(kind)
        self.storm.note(self.name, call)
        method: Callable[[Call], None] = {
            "trigger with a key": self._trigger_with_key,
            "trigger without a key": self._trigger,
            "large trigger": self._large_trigger,
            "batch with a key": self._batch_with_key,
            "batch without a key": self._batch,
            "large batch": self._large_batch,
            "input": self._send,
            "wait token": self._wait_token,
        }[kind]
        method(call)
        self.storm.count(f"{kind}: {call.end}")

    def _payload(self, item: int = 0, size: int = 0) -> dict[str, Any]:
        return {"n": [*self.name, item], "pad": "x" * size}

    @property
    def _key(self) -> str:
        return f"{self.storm._seed}-{self.name}"

    def _trigger_with_key(self, call: Call) -> None:
        self._trigger(call, idempotency_key=self._key)

    def _large_trigger(self, call: Call) -> None:
        self._trigger(call, LEAST_UPLOADED, idempotency_key=self._key)

    def _trigger(self, call: Call, size: int = 0, **options: Any) -> None:
        def make(seconds: float) -> None:
            handle = self.client.trigger(
                TASK, self._payload(size=size), call_timeout=seconds, **options
            )
            call.told.add(handle.id)

        self._make(call, make, repeats=bool(options) and self.rng.random() < 0.7)

    def _batch_with_key(self, call: Call) -> None:
        self._batch(call, idempotency_key=self._key)

    def _large_batch(self, call: Call) -> None:
        self._batch(call, LEAST_UPLOADED, idempotency_key=self._key)

    def _batch(self, call: Call, size: int = 0, **options: Any) -> None:
        call.items = self.rng.randrange(1, 6)
        items = [
            BatchItem(TASK, self._payload(item, size if item % 2 == 0 else 0))
            for item in range(call.items)
        ]

        def make(seconds: float) -> None:
            self.client.batch_trigger(items, call_timeout=seconds, **options)

        self._make(call, make, repeats=bool(options) and self.rng.random() < 0.7)

    def _send(self, call: Call) -> None:
        self.storm.note_input(self.run_id, self.name)
        self._make(
            call,
            lambda seconds: self.client.send(
                self.run_id, "s", list(self.name), call_timeout=seconds
            ),
        )

    def _wait_token(self, call: Call) -> None:
        def make(seconds: float) -> None:
            token = self.client.wait_tokens.create(
                idempotency_key=self._key, timeout="1h", call_timeout=seconds
            )
            self.storm.note_token(self.name, token.id)

        self._make(call, make, repeats=True)

    def _make(self, call: Call, make: Callable[[float], None], *, repeats: bool = False) -> None:
        for _ in range(MOST_CALLS if repeats else 1):
            seconds = self.rng.choice((0.1, 0.5, 2.0, 10.0))
            began = time.monotonic()
            try:
                make(seconds)
                call.is_told = True
            except TriggerRealtimeError as error:
                self._judge(error)
                call.is_doubted |= error.may_have_happened
            took = time.monotonic() - began
            if took > seconds + SLACK_SECONDS:
                self.storm.report(f"{self.name}, {call.kind}: took {took:.1f} of {seconds} s")
            if call.is_told or self.closes:
                return
        if repeats:
            self.storm.report(f"{self.name}, {call.kind}: never came to its end")

    def _judge(self, error: TriggerRealtimeError) -> None:
        known = (ApiError, ApiConnectionError, ProtocolError, BatchTriggerError)
        if not isinstance(error, known) and not (self.closes and isinstance(error, ClientClosed)):
            self.storm.report(f"{self.name}: {error!r}")
        if KEY in f"{error!r} {error} {vars(error)}":
            self.storm.report(f"{self.name}: a token is shown by {type(error).__name__}")
        self.storm.count("timed out" if isinstance(error, CallTimeout) else type(error).__name__)


def storm_of(seed: int, faults: int, threads: int = 4, kinds: tuple[str, ...] = ()) -> Storm:
    """Run a storm against a server of its own, and return it."""
    before, patience.LATER_SECONDS = patience.LATER_SECONDS, LATER_SECONDS
    try:
        with RealtimeServer() as server:
            storm = Storm(server, seed, kinds)
            storm.run(faults, threads)
            return storm
    finally:
        patience.LATER_SECONDS = before


def main() -> int:
    """Run a storm. Return 0 if the books agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("trigger_realtime_sync").setLevel(logging.CRITICAL)
    storm = storm_of(options.seed, options.faults, options.threads)
    for what, count in sorted(storm.done.items()):
        print(f"{count:6} {what}")
    print(f"{storm.struck} faults, seed {options.seed}")
    for wrong in storm.wrong[:20]:
        print("wrong:", wrong)
    return 1 if storm.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
