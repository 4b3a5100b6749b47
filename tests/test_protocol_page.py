"""What code, tests and pages cite of docs/protocol.md is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "protocol.md"
FOLDERS = ("trigger_realtime_sync", "tests", "docs", "examples", "benchmarks")

# Reading has the sections 1 to 5, the round trip R1 to R10.
NUMBER = r"R?[0-9]+"
NUMBERS = rf"{NUMBER}(?:(?:, and |, | and | to ){NUMBER})*"
# A line may be broken between any two words, in a comment too.
GAP = r"\s+(?:#\s+)?"
CITATION = re.compile(
    rf"docs/protocol\.md`?,{GAP}sections?{GAP}(?P<sections>{NUMBERS})"
    rf"(?:,{GAP}items?{GAP}(?P<items>{NUMBERS}))?"
)
# Every mention of the protocol that is followed by a section, in whatever form.
MENTION = re.compile(rf"\bprotocol(?:\.md)?[`*]*,?{GAP}sections?\b", re.IGNORECASE)
LINK = re.compile(r"protocol\.md#([\w-]+)")


def sources() -> Iterator[tuple[str, str]]:
    """The name and the text of every file that may cite the page."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in sorted([*paths, *ROOT.glob("*.md")]):
        ours = "node_modules" not in path.parts and path != Path(__file__)
        if ours and path.suffix in (".py", ".mjs", ".md"):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def sections() -> dict[str, set[int]]:
    """The numbers of the page's sections, and of the items of each."""
    found: dict[str, set[int]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(rf"## ({NUMBER})\. ", line):
            found[heading[1]] = set()
        elif item := re.match(r"### Item ([0-9]+): ", line):
            found[list(found)[-1]].add(int(item[1]))
    return found


def wrong_citations(text: str) -> list[str]:
    """The citations in a text that are not of the form above, or name what is not there."""
    wrong = []
    for mention in MENTION.finditer(text):
        start = text.rfind("docs/", 0, mention.end())
        citation = CITATION.match(text, start) if start == mention.start() - len("docs/") else None
        if citation is None or not is_there(citation):
            wrong.append(" ".join(text[mention.start() : mention.end() + 20].split()))
    return wrong


def is_there(citation: re.Match[str]) -> bool:
    """Return True if the page has every section and item that the citation names."""
    there = sections()
    named = re.findall(NUMBER, citation["sections"])
    items = {int(number) for number in re.findall("[0-9]+", citation["items"] or "")}
    if not there.keys() >= set(named):
        return False
    return not items or (len(named) == 1 and items <= there[named[0]])


def test_the_page_has_its_sections():
    """Five about reading, ten about the round trip, in order; the second has numbered items."""
    assert list(sections()) == ["1", "2", "3", "4", "5", *(f"R{n}" for n in range(1, 11))]
    assert sections()["2"] == set(range(1, 8))


def test_every_citation_leads_somewhere():
    """A section that was renumbered or removed is found out, and so is any other way to cite."""
    wrong = {name: found for name, text in sources() if (found := wrong_citations(text))}
    assert wrong == {}


def test_the_page_is_cited():
    """Not in vain: the check above finds what the code cites."""
    cited = sum(len(CITATION.findall(text)) for name, text in sources() if name.endswith(".py"))
    assert cited > 20


@pytest.mark.parametrize(
    "text",
    [
        "see docs/protocol.md, section 6",
        "see docs/protocol.md, section 2, item 8",
        "see docs/protocol.md, section 1, item 1",
        "PROTOCOL, section 2",
        "PROTOCOL, sections 1, 2 and 4",
        "by PROTOCOL section 5",
        "(protocol section 4)",
        "see docs/protocol.md, section R11",
        "see docs/protocol.md, sections R1 to R12",
    ],
)
def test_a_wrong_citation_is_found(text):
    """One to nowhere, and each of the forms that were once in use."""
    assert len(wrong_citations(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "see docs/protocol.md, section 2",
        "see docs/protocol.md, sections 1, 2 and 4",
        "see docs/protocol.md, section 2, item 6",
        "# see docs/protocol.md,\n    # section 2, items 5 and 6",
        "see docs/protocol.md, section R10",
        "see docs/protocol.md, sections R1 to R3",
    ],
)
def test_a_right_citation_is_not(text):
    """In one line or in two, with an item or without."""
    assert wrong_citations(text) == []


def test_links_to_the_page_lead_to_headings():
    """As GitHub makes anchors of headings."""
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = {anchor for _, text in sources() for anchor in LINK.findall(text)}
    assert linked - anchors == set()


def test_the_files_that_the_page_names_exist():
    """It says of each rule which file answers for it."""
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(_\w+/(?:\w+\.py)?|(?:testing/)?_\w+\.py)`", page))
    package = ROOT / "trigger_realtime_sync"
    assert len(named) > 15
    assert [name for name in sorted(named) if not (package / name).exists()] == []
