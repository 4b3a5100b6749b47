"""Parts of text are joined, wherever a writer cut them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync import RealtimeClient, TextJoiner
from trigger_realtime_sync.testing import RealtimeServer

LONE = "\N{REPLACEMENT CHARACTER}"
# Every kind of UTF-16 unit: halves of both kinds, and whole characters.
UNITS = st.sampled_from(["a", "é", "\ud83d", "\ude00", LONE])


def joined(parts: list[str]) -> str:
    joiner = TextJoiner()
    return "".join(joiner.feed([part]) for part in parts) + joiner.end()


@given(st.lists(st.lists(UNITS).map("".join)))
def test_where_the_parts_were_cut_makes_no_difference(parts):
    """One call with all of the text says the same, and what is said can be encoded."""
    text = joined(parts)
    assert text == joined(["".join(parts)])
    assert text.encode().decode() == text


@given(st.text(st.characters(exclude_categories=["Cs"])), st.data())
def test_text_that_was_cut_between_any_two_units_is_whole_again(text, data):
    """As JavaScript's `slice` cuts it."""
    units = text.encode("utf-16-le")
    cut = 2 * data.draw(st.integers(0, len(units) // 2))
    halves = [half.decode("utf-16-le", "surrogatepass") for half in (units[:cut], units[cut:])]
    assert joined(halves) == text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["a\ud83d"], f"a{LONE}"),
        (["\ude00b"], f"{LONE}b"),
        (["\ud83d", "\ud83d", "\ude00"], f"{LONE}\N{GRINNING FACE}"),
        (["\ude00", "\ud83d"], LONE * 2),
        (["", "\ud83d", "", "\ude00", ""], "\N{GRINNING FACE}"),
        ([], ""),
    ],
)
def test_each_half_that_stays_alone_is_one_replacement(parts, text):
    """In the middle, and at the end."""
    assert joined(parts) == text


def test_what_is_whole_is_not_kept():
    """Text comes out of the call that brought it, but for its last half; the end starts anew."""
    joiner = TextJoiner()
    assert joiner.feed(["Hi ", "there\ud83d"]) == "Hi there"
    assert joiner.feed(["\ude00!"]) == "\N{GRINNING FACE}!"
    assert joiner.feed(["\ud83d"]) == ""
    assert (joiner.end(), joiner.end()) == (LONE, "")
    assert joiner.feed(["\ude00"]) == LONE


def test_a_part_that_is_no_text_is_refused():
    """By the call that brought it; nothing is lost of what was kept."""
    joiner = TextJoiner()
    joiner.feed(["\ud83d"])
    with pytest.raises(TypeError):
        joiner.feed(["a", 1])  # type: ignore[list-item]
    assert joiner.feed(["\ude00"]) == "\N{GRINNING FACE}"


def test_parts_of_a_stream_stay_exact(realtime_server: RealtimeServer):
    """`.parts` has the halves as they were written; the joiner makes text of them."""
    run_id = realtime_server.create_run(status="EXECUTING")
    half, other = json.loads('"Hi \\ud83d"'), json.loads('"\\ude00!"')
    realtime_server.append(run_id, "openai", half)
    realtime_server.append(run_id, "openai", other)
    realtime_server.complete_run(run_id)
    told: list[str] = []
    joiner = TextJoiner()
    with RealtimeClient("tr_any", base_url=realtime_server.url) as client:
        stream = client.subscribe_to_stream(
            run_id, "openai", on_stream=lambda key, parts: told.append(joiner.feed(parts))
        )
        stream.wait_for_completion(timeout=30)
        assert stream.parts == [half, other]
    assert "".join(told) + joiner.end() == "Hi \N{GRINNING FACE}!"


def test_it_is_imported_when_it_is_asked_for():
    """The import of the package, and of the client, does without."""
    code = (
        "import sys, trigger_realtime_sync as package\n"
        "package.RealtimeClient\n"
        "print('trigger_realtime_sync.text_joiner' in sys.modules, 'TextJoiner' in dir(package))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False True", "")
