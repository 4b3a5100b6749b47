"""Signals and collections at random moments: each cancels, closes or raises, and nothing hangs.

`python -m tests.interrupts.storm --seconds 600` runs it for ten minutes; with `--raising` some
handlers raise. It needs a main thread of its own, and a process: a hang is answered by the stacks
of all threads, and exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import logging
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.waiting import threads_named
from trigger_realtime_sync import (
    RealtimeClient,
    SubscriptionCancelled,
    TriggerRealtimeError,
    WaitTimeout,
)
from trigger_realtime_sync.subscription import RunSubscription
from trigger_realtime_sync.testing import RealtimeServer

# Seconds that a round may take, and that a callback may still begin after its subscription was
# cancelled: its thread had passed the last check, and waits for the interpreter.
ROUND_SECONDS = 20.0
PASSED_SECONDS = 0.5
# Collections are frequent, so that they happen inside of everything.
THRESHOLD = 40


class Raised(Exception):
    """What a signal handler raises: an alarm, a soft limit."""


class Garbage:
    """An object in a cycle, which the collector ends wherever it runs."""

    def __init__(self, subscription: RunSubscription[Any, Any]) -> None:
        self.me = self
        self.subscription = subscription

    def __del__(self) -> None:
        self.subscription.cancel()


class Stacks(logging.Handler):
    """Shows what all threads do when `close()` has left some."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)
        if "left threads" in record.msg:
            faulthandler.dump_traceback(all_threads=True)


class Storm:
    """A client, its main thread, and what interrupts it.

    Attributes:
        wrong: what should not have been.
        done: how often each thing was done.
    """

    def __init__(self, server: RealtimeServer, seed: int, *, raising: bool) -> None:
        self._raising = raising
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._server = server
        self._run_id = server.create_run(status="EXECUTING")
        self._client = self._new_client()
        self._subscription = self._client.subscribe_to_run(self._run_id)
        self._cancelled_at: dict[int, float] = {}
        self._stopped = False
        threading.Thread(target=self._write, daemon=True).start()

    def run(self, seconds: float) -> None:
        """Run rounds for so long."""
        signal.signal(signal.SIGALRM, self._on_signal)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            faulthandler.dump_traceback_later(ROUND_SECONDS, exit=True)
            # One that comes while the round ends.
            with contextlib.suppress(Raised):
                self._round()
        faulthandler.dump_traceback_later(ROUND_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._stopped = True
        gc.collect()
        self._client.close()
        self._check_closed()
        end = time.monotonic() + ROUND_SECONDS / 2
        while (left := threads_named("trigger-realtime")) and time.monotonic() < end:
            time.sleep(0.05)
        if left:
            self._note(f"threads are left: {left}")
        faulthandler.cancel_dump_traceback_later()

    def _check_closed(self) -> None:
        """Look whether the closed client has let go of all subscriptions."""
        registry = self._client._engine.registry
        end = time.monotonic() + ROUND_SECONDS / 2
        while registry.slots and time.monotonic() < end:
            time.sleep(0.01)
        if registry.slots:
            seats = [(seat.id, seat.receiver.phase, seat.channel) for seat in registry.all_seats()]
            janitor = registry.janitor
            jobs = janitor._jobs.qsize()
            self._note(f"subscriptions are left: {seats}; {janitor.thread}, {jobs} jobs")
        if left := registry.join(time.monotonic() + ROUND_SECONDS / 2):
            self._note(f"threads of a closed client are left: {left}")

    def _note(self, wrong: str) -> None:
        """Note something wrong, and show what all threads do."""
        self.wrong.append(wrong)
        print("wrong:", wrong, file=sys.stderr)
        faulthandler.dump_traceback(all_threads=True)

    def _new_client(self) -> RealtimeClient:
        return RealtimeClient("tr_dev_storm", base_url=self._server.url)

    def _write(self) -> None:
        number = 0
        while not self._stopped:
            number += 1
            self._server.update_run(self._run_id, metadata={"n": number})
            time.sleep(0.003)

    # --- what the main thread is in when it is interrupted

    def _round(self) -> None:
        if self._client.get("nobody") is None and self._random.random() < 0.02:
            self._client.close()
        activity = self._random.choice(
            [
                self._updates,
                self._wait,
                self._look,
                self._subscribe,
                self._litter,
                self._change,
                self._wait_once,
            ]
        )
        self.done[activity.__name__] += 1
        try:
            first, every = self._random.uniform(0.0005, 0.02), self._random.uniform(0.005, 0.02)
            signal.setitimer(signal.ITIMER_REAL, first, every)
            self._begin()
            activity()
        except (Raised, SubscriptionCancelled, WaitTimeout):
            pass
        except TriggerRealtimeError as error:
            # A handler closed the client.
            if "closed" not in str(error):
                raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self._client._engine.registry.closed:
            self._client.close()
            self._check_closed()
            self._client = self._new_client()

    def _begin(self) -> None:
        ident = self._random.getrandbits(62)
        self._subscription = self._client.subscribe_to_run(
            self._run_id, on_update=lambda run: self._on_update(ident)
        )
        self._ident = ident

    def _updates(self) -> None:
        for _ in self._subscription.updates(timeout=0.05):
            pass

    def _wait(self) -> None:
        self._subscription.wait_for_completion(timeout=0.05)

    def _look(self) -> None:
        end = time.monotonic() + 0.03
        while time.monotonic() < end:
            _ = self._subscription.run, self._subscription.state, self._client.subscriptions.keys()
            with contextlib.suppress(WaitTimeout):
                self._subscription.wait_for_completion(timeout=0)

    def _subscribe(self) -> None:
        for _ in range(10):
            with self._client.subscribe_to_run(self._run_id, id="shared"):
                pass

    def _litter(self) -> None:
        for _ in range(10):
            Garbage(self._client.subscribe_to_run(self._run_id))

    def _change(self) -> None:
        for number in range(10):
            self._subscription.disable()
            self._subscription.enable()
            self._subscription.change_id(f"id-{number}")

    def _wait_once(self) -> None:
        self._client.wait_for_completion(self._run_id, timeout=0.02)

    # --- what interrupts it

    def _on_signal(self, *_: object) -> None:
        what: Callable[[], object] = self._random.choice(
            [
                self._cancel,
                self._cancel,
                self._client.cancel_all,
                self._client.close,
                self._fail if self._raising else self._cancel,
                lambda: self._client.cancel("shared"),
            ]
        )
        self.done["signals"] += 1
        started = time.monotonic()
        try:
            what()
        finally:
            if time.monotonic() - started > 5.0:
                self.wrong.append(f"{what} took {time.monotonic() - started:.1f} s")

    def _cancel(self) -> None:
        subscription, ident = self._subscription, getattr(self, "_ident", 0)
        subscription.cancel()
        if subscription.state != "CANCELLED":
            self.wrong.append(f"{subscription!r} after cancel()")
        if subscription is self._subscription:
            self._cancelled_at[ident] = time.monotonic()

    def _fail(self) -> None:
        raise Raised

    def _on_update(self, ident: int) -> None:
        self.done["callbacks"] += 1
        at = self._cancelled_at.get(ident)
        if at is not None and time.monotonic() - at > PASSED_SECONDS:
            self.wrong.append("a callback began after cancel() had returned")


def main() -> int:
    """Run a storm. Return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--raising", action="store_true", help="let handlers raise as well")
    options = parser.parse_args()
    gc.set_threshold(THRESHOLD, 5, 5)
    sys.setswitchinterval(0.0005)
    logging.getLogger("trigger_realtime_sync").addHandler(Stacks(logging.WARNING))
    with RealtimeServer() as server:
        storm = Storm(server, options.seed, raising=options.raising)
        storm.run(options.seconds)
    print(dict(storm.done))
    for wrong in storm.wrong[:20]:
        print("wrong:", wrong)
    return 1 if storm.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
