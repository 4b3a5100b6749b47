"""The benchmarks run: a smoke slice of the harness, with the one peer that needs no installing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The harness, with this interpreter in place of that of its own environment."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    from benchmarks import _peers

    for peers in (_peers.PEERS, _peers.CALLERS):
        for peer, command in list(peers.items()):
            if command[0] == str(_peers.PYTHON):
                monkeypatch.setitem(peers, peer, [sys.executable, *command[1:]])
    monkeypatch.setattr(_peers, "PYTHON", sys.executable)
    return _peers


@pytest.mark.parametrize(
    ("kind", "name", "count"),
    [
        ("stream", "v1-500", 500),
        ("stream", "v1proxied-500", 500),
        ("stream", "v2-1500", 1500),
        ("rows", "rows-50", 50),
        ("rows-read", "rows-50", 50),
    ],
)
def test_the_peers_read_what_the_canned_server_sends(harness, kind, name, count):
    """Ours and the plain loop take every part and row that there is, and say how long they took."""
    with harness.canned(name) as url:
        for peer in (harness.OURS, harness.REQUESTS):
            assert harness.once(peer, kind, url, name, count)["seconds"] > 0


@pytest.mark.parametrize("kind", ["v1", "v2", "rows"])
def test_the_steps_are_measured_one_by_one(harness, kind):
    """What the time goes to, in microseconds."""
    steps = harness.once(harness.STAGES, kind, 1200)
    assert any(name.startswith("JSON") for name in steps)
    assert all(cost > 0 for cost in steps.values())


@pytest.mark.parametrize("peer", ["ours", "requests + sseclient-py", "official client"])
def test_the_peers_call_the_server_of_canned_answers(harness, peer):
    """Each triggers runs one after the other and from 16 at once, and batches of which the server
    has all items."""
    if peer == harness.OFFICIAL and not (ROOT / "benchmarks/node_modules").is_dir():
        pytest.skip("the official SDK is not installed")
    with harness.answering() as url:
        one = harness.once(peer, "one", url, 20, among=harness.CALLERS)
        assert len(one["times"]) == 20
        assert min(one["times"]) > 0
        assert one["cpu"] > 0
        assert harness.once(peer, "many", url, 40, among=harness.CALLERS)["seconds"] > 0
        assert min(harness.once(peer, "batch", url, 1000, among=harness.CALLERS)["times"]) > 0


def test_calls_become_rows(harness, monkeypatch):
    """Each figure of a call is a row, measured for every peer."""
    from benchmarks import _rows

    monkeypatch.delitem(harness.CALLERS, harness.OFFICIAL)
    report = _rows.Report()
    _rows.calls(report, _rows.SMOKE)
    assert len(report.rows) == 5
    assert all(row.figures.median(harness.OURS) for row in report.rows)
    assert "without a client" in report.notes[0]


def test_idle_subscriptions_are_measured(harness):
    """First callbacks, a burst, memory and the delay of changes."""
    from benchmarks._measure import Idle, _idle_once

    found = Idle()
    with (
        harness.live(13) as (url, server),
        harness.talking([*harness.PEERS[harness.OURS], "idle", url, "13"]) as worker,
    ):
        _idle_once(found, harness.OURS, worker, server, 3)
    for figures in (found.first, found.burst, found.p50, found.p99):
        median = figures.median(harness.OURS)
        assert median is not None
        assert median > 0


def test_what_following_costs_at_rest(harness):
    """Each client's requests by their kinds, while all of its subscriptions are live."""
    from benchmarks.at_rest import BACKENDS, SUBSCRIPTIONS, markdown, measure

    costs = measure([ROOT, ROOT], 2.0, hold=0.5)
    assert [cost.backend for cost in costs] == [*BACKENDS, *BACKENDS]
    for cost in costs:
        # Most polls are held for half a second; a loaded machine has fewer.
        assert SUBSCRIPTIONS <= cost.requests <= 6 * SUBSCRIPTIONS
        assert cost.not_live + cost.api < SUBSCRIPTIONS / 2
        assert cost.cpu > 0
    assert len(markdown(costs).splitlines()) == 2 + len(costs)


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_changes_are_told_without_a_place(harness, backend):
    """More subscriptions than live polls: every change is told within ten seconds, and none that
    is without a place asks oftener than every two."""
    from benchmarks.places import markdown, measure

    found = measure(backend, 9.0, 9, 1)
    assert found.late[0] > 0
    assert found.late[-1] < 10
    assert found.rates
    # A request may be late at the server, and the next one in time.
    assert max(found.rates) < 0.55
    assert len(markdown([found]).splitlines()) == 3


def test_ratios_are_of_paired_runs(harness):
    """Each round is compared with itself, so that a slow round of both changes nothing."""
    from benchmarks._measure import Figures

    rates = Figures("per second", higher_is_better=True)
    times = Figures("ms")
    for ours, official in ((40.0, 10.0), (4.0, 1.0), (100.0, 20.0)):
        for figures in (rates, times):
            figures.add(harness.OURS, ours)
            figures.add(harness.OFFICIAL, official)
    assert rates.ratio(harness.OURS) == 4.0
    assert times.ratio(harness.OURS) == 0.25
    assert rates.ratio("nobody") is None


def test_the_table_and_the_picture_show_every_row(harness):
    """What misses its goal is marked, and the picture is well-formed."""
    from benchmarks._measure import Figures
    from benchmarks._picture import svg
    from benchmarks._rows import Report, Row
    from benchmarks._table import markdown

    figures = Figures("per second", higher_is_better=True)
    figures.add(harness.OURS, 30.0)
    figures.add(harness.OFFICIAL, 10.0)
    report = Report([Row("fast & good", "why", figures, 2), Row("less so", "why", figures, 4)])
    lines = markdown(report, "versions").splitlines()
    assert "**3.0**" in lines[2]
    assert "missed" not in lines[2]
    assert "missed" in lines[3]
    texts = [one.text for one in ElementTree.fromstring(svg(report)).iter() if one.text]
    assert "fast & good" in texts
    assert "3.0" in texts
