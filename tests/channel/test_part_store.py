"""The parts that are kept of many streams, and who has taken which."""

from __future__ import annotations

import logging
import pickle
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync import Parts
from trigger_realtime_sync._channel.part_store import PartStore, Taker

STREAMS = [("run_1", "a"), ("run_1", "b"), ("run_2", "a")]


class Told:
    """A store of numbered parts, and what it should know of them."""

    def __init__(self, **options: Any) -> None:
        self.store = PartStore(**options)
        self.sizes: dict[tuple[str, str], list[int]] = {}

    def append(self, stream: tuple[str, str], count: int, size: int) -> None:
        sizes = self.sizes.setdefault(stream, [])
        first = len(sizes)
        sizes += [size] * count
        positions = [(count, lambda n: f"after {first + n}")]
        self.store.append(stream, range(first, first + count), positions, count * size, "the end")

    @property
    def kept(self) -> dict[tuple[str, str], list[int]]:
        return {stream: self.store.values(stream) for stream in self.sizes}

    def dropped(self, stream: tuple[str, str]) -> int:
        return len(self.sizes[stream]) - len(self.store.values(stream))

    @property
    def bytes(self) -> int:
        return sum(sum(sizes[self.dropped(stream) :]) for stream, sizes in self.sizes.items())


Step = st.tuples(st.sampled_from(STREAMS), st.integers(1, 5), st.integers(0, 40))


@given(st.lists(Step, max_size=60), st.integers(1, 400))
def test_nobody_takes_anything(steps, most):
    """What is kept is the end of each stream, fits, and is all that it says to have kept."""
    told = Told(most_bytes=most)
    for stream, count, size in steps:
        told.append(stream, count, size)
        assert told.store.kept_bytes == told.bytes <= most
    for stream, values in told.kept.items():
        assert values == list(range(told.dropped(stream), len(told.sizes[stream])))
    assert told.store.dropped == sum(map(told.dropped, told.sizes))


@given(st.lists(st.tuples(Step, st.booleans(), st.booleans()), max_size=60), st.integers(1, 400))
def test_two_who_take_at_their_own_pace(steps, most):
    """Each gets every part once and in order, however little is kept."""
    told = Told(most_bytes=most)
    takers = [Taker(), Taker()]
    for taker in takers:
        told.store.add(taker)
    got: list[dict[Any, list[int]]] = [{}, {}]

    def take(number: int, stream: tuple[str, str]) -> None:
        values, _ = told.store.take(takers[number], stream)
        mine = got[number].setdefault(stream, [])
        assert isinstance(values, Parts)
        assert values.first_index == len(mine) or not values
        mine += values

    for (stream, count, size), *who in steps:
        told.append(stream, count, size)
        for number, does_take in enumerate(who):
            if does_take:
                take(number, stream)
    for stream in told.sizes:
        for number in range(2):
            take(number, stream)
    for mine in got:
        assert mine == {stream: list(range(len(sizes))) for stream, sizes in told.sizes.items()}
    assert told.store.kept_bytes <= most


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(1, 200), st.data())
def test_one_at_a_time(sizes, most, data):
    """With its position, though what comes before it is dropped meanwhile."""
    told = Told(most_bytes=most)
    taker = Taker()
    told.store.add(taker)
    stream, got = STREAMS[0], []
    for size in sizes:
        told.append(stream, 1, size)
        while data.draw(st.booleans()):
            got.append(told.store.take_one(taker, stream, 0))
    while (item := told.store.take_one(taker, stream, 0)) is not None:
        got.append(item)
    assert [item for item in got if item is not None] == [
        (n, f"after {n}") for n in range(len(sizes))
    ]
    assert told.store.kept_bytes <= most


def test_the_oldest_of_all_streams_goes_first():
    """A stream that is silent loses its parts to one that is not."""
    told = Told(most_bytes=1000)
    a, b, c = STREAMS
    told.append(a, 5, 100)
    told.append(b, 5, 100)
    told.append(c, 3, 100)
    assert told.kept == {a: [4], b: [0, 1, 2, 3, 4], c: [0, 1, 2]}
    told.append(c, 6, 100)
    assert told.kept == {a: [], b: [], c: list(range(9))}


def test_a_part_that_is_too_large_is_not_kept():
    """Nor is anything that came before it."""
    told = Told(most_bytes=100)
    told.append(STREAMS[0], 3, 10)
    told.append(STREAMS[0], 1, 101)
    assert told.kept == {STREAMS[0]: []}
    told.append(STREAMS[0], 1, 100)
    assert told.kept == {STREAMS[0]: [4]}


def test_what_is_still_to_be_taken_stays_and_the_next_goes():
    """Only the stream that nobody waits for is made shorter."""
    told = Told(most_bytes=100)
    a, b, _ = STREAMS
    slow = Taker()
    told.append(b, 4, 10)
    told.store.take(slow, b)
    told.store.add(slow)
    told.append(a, 20, 10)
    told.append(b, 4, 10)
    told.store.take(slow, b)
    assert told.kept == {a: list(range(20)), b: []}
    told.store.remove(slow)
    assert told.store.kept_bytes <= 100


def test_a_run_that_is_gone_leaves_room():
    """What is kept of it does not count any more."""
    told = Told(most_bytes=100)
    for _ in range(3):
        told.append(("run_1", "a"), 8, 10)
        told.append(("run_2", "a"), 2, 10)
        assert told.store.dropped == 0
        told.store.forget("run_1")
        told.store.forget("run_2")
        told.sizes.clear()
        assert told.store.kept_bytes == 0


def test_a_copy_goes_on_by_itself():
    """With the same parts, bytes and count."""
    told = Told(most_bytes=100)
    told.append(STREAMS[0], 20, 10)
    copy = told.store.copy()
    told.append(STREAMS[0], 5, 10)
    before = copy.values(STREAMS[0]), copy.kept_bytes, copy.dropped
    assert (before[0][-1], before[1], before[2]) == (19, len(before[0]) * 10, 20 - len(before[0]))
    copy.append(STREAMS[0], [20], [], 10, "the end")
    assert copy.values(STREAMS[0])[-1] == 20
    assert copy.kept_bytes <= 100


def test_without_a_bound_all_stay():
    """`None` keeps everything."""
    told = Told(most_bytes=None)
    for _ in range(100):
        told.append(STREAMS[0], 1, 1 << 20)
    assert told.kept == {STREAMS[0]: list(range(100))}


def test_it_is_logged_once(caplog):
    """By the name of what is read, and not under the lock: a handler may look at the parts."""
    told = Told(most_bytes=100, label="stream a of run run_1")
    seen: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(told.kept)

    handler = Handler()
    logging.getLogger("trigger_realtime_sync").addHandler(handler)
    try:
        for _ in range(20):
            told.append(STREAMS[0], 3, 10)
            told.store.wait_for_room(STREAMS[0])
    finally:
        logging.getLogger("trigger_realtime_sync").removeHandler(handler)
    assert len(seen) == len(caplog.records) == 1
    assert "stream a of run run_1" in caplog.text
    assert "max_part_bytes=100" in caplog.text


def test_it_is_quick_with_many_streams_and_a_slow_taker():
    """Work for each part does not grow with what is kept."""
    told = Told(most_bytes=100_000)
    slow = Taker()
    told.store.add(slow)
    looked: list[None] = []
    original = told.store._make_spare

    def make_spare() -> None:
        looked.append(None)
        original()

    told.store._make_spare = make_spare  # type: ignore[method-assign]
    chance = random.Random(1)
    for _ in range(5000):
        told.append((f"run_{chance.randrange(200)}", "a"), 1, 100)
    assert told.store.dropped == 0
    assert len(looked) < 300


def test_parts_are_pickled_as_a_list():
    """Whoever reads them elsewhere need not have this library."""
    parts = Parts(["a", "b"], 7)
    assert parts == ["a", "b"]
    again = pickle.loads(pickle.dumps(parts))
    assert type(again) is list
    assert again == parts


@pytest.mark.parametrize("most_kept", [0, 3])
def test_both_bounds(most_kept):
    """Whichever is reached first."""
    told = Told(most_kept=most_kept, most_bytes=50)
    for size in (10, 40, 10, 10, 10, 10):
        told.append(STREAMS[0], 1, size)
    assert told.kept == {STREAMS[0]: [3, 4, 5][3 - most_kept :]}
    assert told.store.dropped == 6 - most_kept
