"""Ctrl-C while something is printed."""

from __future__ import annotations

import signal

import pytest

from trigger_realtime_sync.cli._interrupts import Uninterrupted


def printed_when_interrupted(times: int) -> list[str]:
    """What a block does that Ctrl-C comes into so often."""
    printed: list[str] = []
    with Uninterrupted():
        printed.append("begun")
        try:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            printed.append("done")
        finally:
            print(*printed)
    return printed


@pytest.mark.parametrize(("times", "printed"), [(1, "begun done\n"), (2, "begun\n")])
def test_what_was_begun_is_done_unless_it_comes_twice(capsys, times, printed):
    """And then it is interrupted; Ctrl-C works as before from there on."""
    with pytest.raises(KeyboardInterrupt):
        printed_when_interrupted(times)
    assert capsys.readouterr().out == printed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_ignored_it_stays_ignored():
    """As in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Uninterrupted():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_nothing_happens_without_it():
    """Errors of the block come out."""
    assert printed_when_interrupted(0) == ["begun", "done"]
    with pytest.raises(ValueError), Uninterrupted():
        raise ValueError
