"""What is kept of runs that left their shape: whole for a while, then digest and summary. Pure.

A digest stands for the state that was told last, so no two states that differ may have the same
one. A summary says of a finished run how and when it ended.
"""

from __future__ import annotations

import copy
import hashlib
import struct
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs

from ..errors import PayloadError
from ..models import AnyRun, LazyValue, Run, RunError, RunStatus, empty_run, lazy_run
from .packets import PacketValue

# About what a run takes besides its texts, in bytes.
RUN_BYTES = 1_000
# Enough that nobody finds two states with the same digest, and one less than what would make its
# object a third larger.
DIGEST_BYTES = 15

_FIELDS = tuple(field.name for field in attrs.fields(Run) if field.name != "id")
_PACKETS = ("_payload", "_output", "_metadata")
_TIMES = (
    *("created_at", "updated_at", "started_at", "queued_at"),
    *("delayed_until", "expired_at", "finished_at"),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
# The number of its kind, and which of the times it has; then these, in microseconds.
_HEAD = struct.Struct(">IB")


def shelve(run: AnyRun) -> tuple[AnyRun, int]:
    """Return the run as it is kept, and about how many bytes it takes.

    It is equal to the run, but nothing of it is decoded: values are often many times as large as
    their texts, and whoever holds the run itself has them.
    """
    fields = vars(run)
    if "_make" in fields:
        columns = fields["_columns"]
        kept = lazy_run(run.id, run.status, run.finished_at, columns, fields["_make"])
        return kept, RUN_BYTES + sys.getsizeof(columns) + _size(list(columns.values()))
    kept, kept_fields = empty_run()
    kept_fields.update(fields)
    for name in _PACKETS:
        kept_fields[name] = copy.copy(fields[name])
    return kept, RUN_BYTES + _size(list(fields.values()))


def _size(value: Any) -> int:
    """Return the bytes of the texts in a value of a row or of a run."""
    if isinstance(value, PacketValue):
        return sys.getsizeof(value.data)
    if isinstance(value, list):
        return sum(map(_size, value))
    if isinstance(value, RunError):
        return _size([value.message, value.name, value.stack_trace])
    # The texts of statuses are one for all runs.
    return sys.getsizeof(value) if type(value) is str else 0


def digest_of(run: AnyRun) -> bytes:
    """Return a digest of a state: that of an equal one is the same, and of another one another.

    Of runs of one subscription, whose payloads and outputs have the types of their task.
    """
    # The fields that are made for this are dropped again.
    run, _ = shelve(run)
    state = [run.id, *(getattr(run, name) for name in _FIELDS)]
    return hashlib.blake2b(_encoded(state), digest_size=DIGEST_BYTES).digest()


def _encoded(value: Any) -> bytes:
    """Return bytes that no other value has: each begins with its type, and texts with their length.

    So neither does None pass for a text, nor 1 for "1", nor do two texts pass for two others that
    are the same when joined.
    """
    if value is None:
        return b"n"
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"s%d:%b" % (len(text), text)
    if isinstance(value, bool):
        return b"b1" if value else b"b0"
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, float):
        # 0.0 and -0.0 are equal.
        return b"f" + struct.pack(">d", value + 0.0)
    if isinstance(value, datetime):
        return b"t%d;" % _microseconds(value)
    if isinstance(value, list):
        return b"l%d:%b" % (len(value), b"".join(map(_encoded, value)))
    if isinstance(value, RunError):
        return b"e" + _encoded([value.message, value.name, value.stack_trace])
    if isinstance(value, PacketValue):
        return b"p" + _encoded(list(value.packet))
    raise TypeError(f"no state of a run has a {type(value).__name__}")


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


@attrs.define(eq=False)
class LeftRun:
    """A run that left.

    Attributes:
        run: its last state.
    """

    run: AnyRun
    _digest: bytes | None = None

    def digest_of(self, state: AnyRun) -> bytes:
        """Return the digest of one of its states: of the last one, the same object for all."""
        if state is not self.run:
            return digest_of(state)
        if self._digest is None:
            self._digest = digest_of(state)
        return self._digest


class Summaries:
    """Makes summaries of runs: status, task and times in a few dozen bytes.

    A million runs have few tasks and ways to end, so each of these is noted once.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[RunStatus, str], int] = {}
        self._kinds: list[tuple[RunStatus, str]] = []

    def of(self, run: AnyRun) -> bytes:
        """Return the summary of a run. For one thread at a time."""
        kind = (run.status, run.task_identifier)
        number = self._numbers.setdefault(kind, len(self._kinds))
        if number == len(self._kinds):
            self._kinds.append(kind)
        times = {
            bit: _microseconds(time)
            for bit, name in enumerate(_TIMES)
            if (time := getattr(run, name)) is not None
        }
        return struct.pack(
            f">IB{len(times)}q", number, sum(1 << bit for bit in times), *times.values()
        )

    def run(self, run_id: str, summary: bytes) -> AnyRun:
        """Return what a summary says of a run. What else there was of it is no longer kept. Any
        thread may ask."""
        number, bits = _HEAD.unpack_from(summary)
        names = [name for bit, name in enumerate(_TIMES) if bits >> bit & 1]
        times = struct.unpack_from(f">{len(names)}q", summary, _HEAD.size)
        values: dict[str, Any] = {
            name: _EPOCH + time * _MICROSECOND for name, time in zip(names, times, strict=True)
        }
        status, task = self._kinds[number]
        return Run(
            id=run_id,
            status=status,
            task_identifier=task,
            payload=NoLongerKept(run_id, "payload"),
            output=NoLongerKept(run_id, "output"),
            metadata=NoLongerKept(run_id, "metadata"),
            **values,
        )


@attrs.frozen
class NoLongerKept(LazyValue):
    """In the place of a value that was dropped."""

    run_id: str
    field: str

    def read(self) -> Any:
        """
        Raises:
            PayloadError: always.
        """
        raise PayloadError(
            f"{self.field} of run {self.run_id}: no longer kept, since the run left what is"
            f" followed long ago",
            run_id=self.run_id,
            field=self.field,
        )
