"""What the README shows works: its snippets run, its commands parse, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from trigger_realtime_sync.cli._arguments import parse
from trigger_realtime_sync.testing import RealtimeServer

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")

# What a snippet must print, by a phrase that only it holds.
EXPECTED = {
    "handle.result(timeout=300))\n```\n\n- **Triggers**": "{'urls': ['v1.png']}",
    "client.batch_trigger(": "2 runs\neyJ DELAYED",
    "def on_update(run):": "finished: COMPLETED {'answer': 42}",
    "subscribe_to_batch": "[{'n': 1}, {'n': 2}]",
    "class Thumbnails": "https://example.com/1.png",
    "subscribe_to_run_with_streams": (
        "Hello, \N{GRINNING FACE}\nCOMPLETED 3 parts\n'Hello'\n', \\ud83d'\n'\\ude00'"
    ),
    "client.sessions.start(": "Hello, Ada!\n",
    'id="header"': "COMPLETED",
    "def test_percentages": "1 passed",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


SNIPPETS = blocks("python")


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    """Runs of the ids that the README names; they finish once someone watches one live."""
    over = threading.Event()
    with RealtimeServer() as server:
        server.create_run("my-task", id="run_1234", status="EXECUTING", tags=["user:7", "video"])
        server.create_run("make-thumbnails", id="run_5678", status="EXECUTING")
        server.create_run("ask", id="run_llm", status="EXECUTING")
        server.create_run("sum", id="run_a", status="EXECUTING")
        server.create_run("sum", id="run_b", status="EXECUTING")
        server.batch("run_a", "run_b", id="batch_1234")
        server.task("make-thumbnails")(lambda payload: {"urls": [f"{payload['video']}.png"]})
        server.task("support-agent")(lambda payload: answer(server, payload["user"], over))
        player = threading.Thread(target=finish_when_watched, args=(server, over))
        player.start()
        yield server
        over.set()
        player.join()


def answer(server: RealtimeServer, user: str, over: threading.Event) -> None:
    """Play the agent of a chat for one turn."""
    chat = server.session("chat/7")
    while not chat.records("in"):
        if over.wait(0.01):
            return
    chat.write({"type": "text", "text": f"Hello, {user}!"})
    chat.complete_turn(took_in=0)


def finish_when_watched(server: RealtimeServer, over: threading.Event) -> None:
    while not server.held_polls:
        if over.wait(0.01):
            return
    server.update_run("run_1234", metadata={"progress": {"percentage": 50}})
    server.complete_run("run_1234", output={"answer": 42})
    server.complete_run("run_5678", output={"urls": ["https://example.com/1.png"]})
    # As JavaScript's writers cut text, in the middle of an emoji.
    server.append("run_llm", "openai", "Hello", ", \ud83d", "\ude00")
    server.complete_run("run_llm")
    server.complete_run("run_a", output={"n": 1})
    server.complete_run("run_b", output={"n": 2})


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: str(SNIPPETS.index(text)))
def test_a_snippet_runs(snippet, server, tmp_path):
    """Every Python snippet runs as it stands, without a warning, and prints what it should."""
    is_test = "def test_" in snippet
    file = tmp_path / ("test_snippet.py" if is_test else "snippet.py")
    file.write_text(snippet, encoding="utf-8")
    how = ["-m", "pytest", "-p", "no:cacheprovider"] if is_test else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *how, file.name],
        cwd=tmp_path,
        env={
            **os.environ,
            "TRIGGER_API_URL": server.url,
            "TRIGGER_SECRET_KEY": "tr_readme",
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert expected(snippet) in done.stdout


def expected(snippet: str) -> str:
    """What this snippet must print."""
    after = TEXT[TEXT.index(snippet) :][: len(snippet) + 30]
    found = [output for phrase, output in EXPECTED.items() if phrase in after]
    assert len(found) == 1, f"EXPECTED must have one entry for:\n{snippet}"
    return found[0]


def test_the_commands_exist():
    """Every command that the README lists is one that the command line takes."""
    listed = re.findall(
        r"^trigger-realtime ((?:\S+ )*\S+)  ", "".join(blocks("text")), re.MULTILINE
    )
    assert len(listed) == 17
    for line in listed:
        words = [word.strip("[]…") for word in line.split()]
        assert parse(words).command == words[0]


def test_the_extras_exist():
    """Every extra that the README tells to install is one that the package has."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = set(re.findall(r"\.\[(\w+)\]", TEXT))
    assert named == {"cli", "test"}
    assert named <= set(setup["options.extras_require"])


def test_the_links_lead_to_files():
    """Every link works on a package page as well: it names the repository, and a file there."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    home = re.escape(setup["metadata"]["url"])
    links = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (\S+)$", TEXT, re.MULTILINE)
    urls = [inline or listed for inline, listed in links]
    assert [url for url in urls if not url.startswith("https://")] == []
    ours = [url for url in urls if re.match(home, url)]
    paths = [re.fullmatch(home + r"/(?:blob|tree|raw)/main/([^#]+)(?:#.*)?", url) for url in ours]
    assert len(paths) > 8
    missing = [
        url
        for url, path in zip(ours, paths, strict=True)
        if path is None or not (ROOT / path[1]).exists()
    ]
    assert missing == []


def test_each_link_by_name_is_defined_and_used():
    """`[Workers][]` is text, not a link, if the list at the end does not have it."""
    defined = re.findall(r"^\[([^\]]+)\]: ", TEXT, re.MULTILINE)
    used = {name or text for text, name in re.findall(r"\[([^\[\]]+)\]\[([^\]]*)\]", TEXT)}
    assert sorted(used - {"", "cli"}) == sorted(defined)
