"""Payloads, outputs, metadata and parts: every kind of value arrives as the same one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.interop.compare import differences

# Keys with dots and backslashes, where superjson 2.2.1 can't read the paths that it wrote itself:
# and a cycle of which it restores one half: the values that went in are compared in tests/decode.
LOST_THERE = ("dot", "backslash_ancestor", "cycle_crossed")
VECTORS = Path(__file__).parents[1] / "decode" / "vectors" / "superjson-2.2.1.json"
SUPERJSON = "application/super+json"

TEXTS = [
    "0", "-0.0", "1.0", "1e400", "12345678901234567890", "0.1", '""', "null", "false", "[]", "{}",
    '{"__proto__": 1, "a": {"__proto__": {"b": 2}}}', '{"a": 1, "a": 2}',
    '"\\ud83d\\ude00 \\u2028 \\u0000"', '" leading and trailing "', "[" * 200 + "]" * 200,
    json.dumps({"n" * 500: ["x"] * 500}),
]  # fmt: skip


def _vectors() -> list[tuple[str, str]]:
    document = json.loads(VECTORS.read_text(encoding="utf-8"))
    return [
        (one["name"], json.dumps(one["document"]))
        for one in document["vectors"]
        if not any(place in one["name"] for place in LOST_THERE)
    ]


def _words(document: str) -> list[str]:
    return re.findall(r'"[a-z]+"', document)


def _compare(pair: Any, official: Any, texts: list[tuple[str, str]], kind: str) -> list[str]:
    """One run for each text, as its payload, output and metadata. Returns what theirs refused.

    On purpose: a value that theirs can't decode ends its subscription. Ours raises when it is read,
    if at all. So such texts are not part of the comparison.
    """
    refused = official.refuses([text for _, text in texts], kind)
    both_can = [one for one, is_refused in zip(texts, refused, strict=True) if not is_refused]
    names = {
        pair.server.create_run(
            payload=(text, kind), output=(text, kind), metadata=(text, kind), tags=["values"]
        ): name
        for name, text in both_can
    }
    both = pair.tag("values")
    both.is_compared = False
    both.theirs.wait_for(runs=len(names))
    both.ours.wait_for(runs=len(names))
    ours = {run.id: run for run in both.ours.runs}
    found = []
    for told in both.theirs.runs:
        for field in ("payload", "output", "metadata"):
            value = getattr(ours[told["id"]], field)
            lines = differences(told[field], value, field)
            found += [f"{names[told['id']]}: {line}" for line in lines]
    assert found == []
    return [name for (name, _), is_refused in zip(texts, refused, strict=True) if is_refused]


def test_superjson_of_every_kind(pair, official):
    """Every kind of value that superjson knows, in every kind of container.

    On purpose: classes and symbols that are not registered stay JSON values in ours.
    """
    vectors = _vectors()
    refused = _compare(pair, official, vectors, "application/super+json")
    texts = dict(vectors)
    assert refused
    assert [
        name for name in refused if not {'"class"', '"symbol"'} & set(_words(texts[name]))
    ] == []


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-unknown"])
def test_other_packets(pair, official, kind):
    """JSON of every form, and text, which stays what it is."""
    texts = [(text[:40], text) for text in TEXTS]
    assert _compare(pair, official, texts, kind) == []


@pytest.mark.parametrize("kind", ["application/json", "application/super+json", "text/plain"])
def test_an_empty_packet(pair, kind):
    """An empty text is no value, whatever its type."""
    run = pair.server.create_run(payload=("", kind), output=("", kind), metadata=("", kind))
    both = pair.run(run)
    both.states()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ('{"large": true}', "application/json"),
        (
            '{"json": "2026-11-23T06:15:09.979Z", "meta": {"values": ["Date"]}}',
            "application/super+json",
        ),
        ("plain ü", "text/plain; charset=utf-8"),
    ],
)
def test_a_large_output_is_fetched(pair, data, kind):
    """`application/store`: the value behind the path, of whatever type it turns out to be."""
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.states()
    path = server.store_packet(data, kind)
    both.states(lambda: server.complete_run(run, output=(path, "application/store")))
