"""Chunked bodies are decoded however the bytes arrive, and a cut is never taken for an end."""

from __future__ import annotations

import http.client
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.wire import answer, read_all
from trigger_realtime_sync._http.chunked import Dechunker

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes, form: bytes = b"%x") -> bytes:
    return form % len(data) + b"\r\n" + data + b"\r\n"


# Some of them look like framing.
CHUNKS = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.lists(
        st.sampled_from([b"\r\n", b"\n", b"1", b"1\r\n", b"0\r\n\r\n", b"word"]), min_size=1
    ).map(b"".join),
)


@given(
    st.lists(CHUNKS, max_size=20),
    st.sampled_from([b"%x", b"%X", b"%04x", b"%x;a=b"]),
    st.lists(st.integers(0, 3000), max_size=20),
)
def test_the_body_is_the_same_however_it_is_cut_into_packets(chunks, form, cuts):
    """Sizes, data and line ends may be torn anywhere, and data may look like sizes."""
    raw = b"".join(chunk(data, form) for data in chunks) + b"0\r\nX-Trailer: 1\r\n\r\n"
    bounds = sorted({0, len(raw), *[cut % len(raw) for cut in cuts]})
    dechunker = Dechunker()
    pieces = [raw[a:b] for a, b in itertools.pairwise(bounds)]
    assert b"".join(map(dechunker.feed, pieces)) == b"".join(chunks)
    assert dechunker.ended
    assert not dechunker.broken


def test_all_that_has_arrived_is_read_at_once():
    """A thousand chunks in one packet cost one read."""
    response = answer(HEAD, b"".join(chunk(b"part") for _ in range(1000)), b"0\r\n\r\n")
    assert response.read1(65536) == b"part" * 1000
    assert response.read1(65536) == b""
    assert response.isclosed()


def test_after_a_torn_chunk_the_next_ones_are_taken_whole():
    """Packets mostly end within a chunk: the cost of a chunk must not depend on that."""
    dechunker = Dechunker()
    assert dechunker.feed(chunk(b"torn")[:5]) == b"to"
    assert (
        dechunker.feed(chunk(b"torn")[5:] + b"6\r\n1\r\nx\r\n\r\n" + b"3\r\nab")
        == b"rn1\r\nx\r\nab"
    )
    assert dechunker.feed(b"c\r\n0\r\n\r\n") == b"c"
    assert dechunker.ended


def test_data_is_returned_before_its_chunk_has_ended():
    """Nothing waits for a line end that may come later."""
    dechunker = Dechunker()
    assert dechunker.feed(b"5\r\nhel") == b"hel"
    assert dechunker.feed(b"lo") == b"lo"
    assert dechunker.feed(b"\r\n1;name=value\r\n!") == b"!"


@pytest.mark.parametrize(
    "rest",
    [b"", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r\n", b"5", b"5\r\nhello\r\n1", b"0"],
)
def test_a_connection_that_ends_early_is_a_cut(rest):
    """Without the last chunk a body is torn; the data before the cut is still returned."""
    response = answer(HEAD, rest)
    with pytest.raises(http.client.IncompleteRead):
        read_all(response)
    assert response.isclosed()


def test_only_the_blank_line_after_the_last_chunk_may_be_missing():
    """All data is there, and servers are known to leave it out."""
    response = answer(HEAD, b"2\r\nhi\r\n0\r\n")
    assert response.read1(65536) == b"hi"
    assert response.read1(65536) == b""


@pytest.mark.parametrize(
    "framing",
    [
        b"x\r\n", b"-1\r\n", b"1_0\r\n", b"\r\n", b"f" * 17 + b"\r\n", b"1" * 5000,
        b"1;" + b"e" * 5000, b"2\r\nhi!\r\n", b"0\r\n" + b"T: t\r\n" * 20000,
    ],
)  # fmt: skip
def test_nonsense_is_a_cut_and_not_a_body(framing):
    """Invalid sizes, endless lines, chunks longer than announced, endless trailers."""
    response = answer(HEAD, framing, b"4\r\nmore\r\n0\r\n\r\n")
    with pytest.raises(http.client.IncompleteRead):
        read_all(response)


def test_a_body_that_is_not_chunked_is_read_as_usual():
    """Its length decides there."""
    response = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert response.read1(65536) == b"hello"
    assert response.read1(65536) == b""
