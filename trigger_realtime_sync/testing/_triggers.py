"""Triggers: a run is made, or found again (docs/protocol.md, sections R1 and R2)."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import attrs

from ._access import Caller
from ._bodies import KIB
from ._control import RunControl
from ._payloads import Packet
from ._replies import Refused
from ._rows import timestamp_of
from ._run_book import Key, RunBook, RunFacts, Triggered
from ._run_life import RunLife
from ._settings import RoundTrip
from ._trigger_options import Debounce, Wanted, understand

# From this size on the server itself moves a payload to the object store.
_STORED_FROM = 512 * KIB
# Seconds that a run can be put off where the trigger does not say.
_LONGEST_DEBOUNCE = 3600.0


@attrs.frozen
class Made:
    """The run that answers a trigger."""

    run_id: str
    is_cached: bool


@attrs.frozen(kw_only=True)
class Ask:
    """One trigger, alone or as an item of a batch.

    Attributes:
        v2_streams: the client can read v2 streams.
    """

    task: str
    packet: Packet
    options: dict[str, Any]
    caller: Caller
    request_id: str | None = None
    batch_id: str | None = None
    v2_streams: bool = True

    def key(self, name: str) -> Key:
        return self.caller.environment, self.task, name


class Triggers:
    """Makes the runs that are asked for. Safe from any thread."""

    def __init__(self, runs: RunControl, book: RunBook, life: RunLife, settings: RoundTrip) -> None:
        self._runs = runs
        self._store = runs._store
        self._book = book
        self._life = life
        self._settings = settings
        self._debounced: dict[Key, tuple[str, float]] = {}

    def answer(self, ask: Ask) -> Made:
        """Return the run of a request: that of an earlier attempt, once that one is done.

        Raises:
            Refused: by a rule.
        """
        if ask.request_id is not None:
            run_id = self._book.requested(ask.key(ask.request_id))
            if run_id is not None:
                return Made(run_id, False)
        self._life.pause(self._settings.trigger_seconds)
        return self.trigger(ask)

    def trigger(self, ask: Ask) -> Made:
        """Return the run, which is made unless its key names one.

        Raises:
            Refused: by a rule.
        """
        wanted = understand(ask.options)
        with self._store.lock:
            cached = None
            if wanted.idempotency_key is not None:
                cached = self._book.keyed(ask.key(wanted.idempotency_key))
            made = Made(cached, True) if cached is not None else self._make(ask, wanted)
            self._note(ask, made)
            return made

    def _make(self, ask: Ask, wanted: Wanted) -> Made:
        self._check_rules(wanted)
        if ask.batch_id is None:
            message = (
                f"Cannot trigger {ask.task} with a one-time use token as it has already been used."
            )
            self._book.spend(ask.caller.use, message)
        if wanted.debounce is not None:
            return Made(self._debounce(ask, wanted, wanted.debounce), False)
        return Made(self._begin(ask, wanted), False)

    def _begin(self, ask: Ask, wanted: Wanted) -> str:
        run_id = self._create(ask, wanted)
        if wanted.idempotency_key is not None:
            self._book.keep_key(ask.key(wanted.idempotency_key), run_id, wanted.key_seconds)
        if ask.request_id is not None and not self._settings.buffering:
            self._book.keep_request(ask.key(ask.request_id), run_id)
        self._life.begin(run_id)
        return run_id

    # --- debouncing

    def _debounce(self, ask: Ask, wanted: Wanted, debounce: Debounce) -> str:
        """Return the run that waits under the key, later than before, or a new one."""
        key = ask.key(debounce.key)
        run_id, latest = self._debounced.get(key, ("", 0.0))
        until = time.time() + debounce.delay
        state = self._store.get(run_id)
        if state is None or state.row["status"] != "DELAYED" or until > latest:
            run_id = self._begin(ask, attrs.evolve(wanted, delay_until=until))
            longest = debounce.max_delay or _LONGEST_DEBOUNCE
            self._debounced[key] = (run_id, time.time() + longest)
            return run_id
        self._put_off(run_id, ask, wanted, until)
        return run_id

    def _put_off(self, run_id: str, ask: Ask, wanted: Wanted, until: float) -> None:
        facts = self._book.facts(run_id)
        changes: dict[str, Any] = {"delay_until": _moment(until)}
        if wanted.debounce is not None and wanted.debounce.mode == "trailing":
            facts.packet = ask.packet
            changes["payload"] = self._stored(ask.packet)
            changes["metadata"] = wanted.metadata
            if wanted.tags:
                changes["tags"] = wanted.tags
        facts.wanted = attrs.evolve(facts.wanted, delay_until=until)
        self._runs.update_run(run_id, **changes)
        self._life.delay_until(run_id, until)

    # --- runs

    def _check_rules(self, wanted: Wanted) -> None:
        if wanted.region is not None and wanted.region not in self._settings.regions:
            raise Refused(422, {"error": f"Region {wanted.region} is not available"})
        if wanted.version is not None and wanted.version not in self._settings.versions:
            message = f"Could not find a deployment with the version {wanted.version}"
            raise Refused(422, {"error": message})

    def _create(self, ask: Ask, wanted: Wanted) -> str:
        text, payload_type = self._stored(ask.packet)
        buffered = self._settings.buffering > 0
        run_id = self._runs.create_run(
            ask.task,
            payload=(text, payload_type),
            tags=wanted.tags,
            metadata=wanted.metadata,
            ttl=wanted.ttl,
            is_test=wanted.is_test,
            delay_until=_moment(wanted.delay_until),
            batch=ask.batch_id,
            lag=buffered,
        )
        self._store.environments[run_id] = ask.caller.environment
        if not ask.v2_streams:
            self._runs._stream_logs.bear_v1(run_id)
        facts = RunFacts(
            task=ask.task,
            wanted=wanted,
            packet=ask.packet,
            batch_id=ask.batch_id,
        )
        self._book.add(run_id, facts)
        if buffered:
            self._store.buffer(run_id)
            self._life.after(self._settings.buffering, partial(self._store.unbuffer, run_id))
        return run_id

    def _stored(self, packet: Packet) -> Packet:
        text, payload_type = packet
        if text is None or payload_type == "application/store":
            return packet
        if len(text.encode("utf-8", "surrogatepass")) < _STORED_FROM:
            return packet
        if not self._settings.object_store:
            message = "Failed to upload large payload to object store"
            raise Refused(500, {"error": message})
        return self._runs.store_packet(text, payload_type), "application/store"

    def _note(self, ask: Ask, made: Made) -> None:
        triggered = Triggered(
            task=ask.task,
            payload=self._book.payload(ask.packet),
            options=ask.options,
            token=ask.caller.token,
            run_id=made.run_id,
            is_cached=made.is_cached,
            request_id=ask.request_id,
            batch_id=ask.batch_id,
        )
        self._book.note(triggered)


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp_of(round(seconds * 1000))
