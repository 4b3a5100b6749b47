"""Random faults over calls: the server's books, beside what the callers were told.

`storm.py` does it for longer: see docs/reliability.md.
"""

from __future__ import annotations

import pytest

from tests.calls.storm import STEPS, storm_of


@pytest.mark.parametrize("kind", STEPS)
def test_the_books_agree(kind):
    """No run is made twice or lost where there is a key, none that was said not to be; no input
    arrives twice; no call outlives its time; no token is shown."""
    storm = storm_of(1, faults=30, threads=2, kinds=(kind,))
    assert storm.wrong == []
    assert storm.struck >= 30


def test_the_books_agree_when_all_is_mixed():
    """Of several threads with one server."""
    storm = storm_of(2, faults=60, threads=4)
    assert storm.wrong == []
    ends = {end for what in storm.done for end in ("told", "in doubt") if what.endswith(end)}
    assert ends == {"told", "in doubt"}
