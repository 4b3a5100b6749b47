"""Heads: what they say of the body's end is understood at once, or they are refused at once."""

from __future__ import annotations

import http.client

import pytest

from tests.support.wire import answer, read_all
from trigger_realtime_sync._http.heads import (
    MOST_DROPPED,
    MOST_INTERIM,
    MOST_LINES,
    BadContentLength,
    BadHead,
)

START = b"HTTP/1.1 200 OK\r\n"
BODY = b"hello"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Length: 5", BODY),
        (b"Content-Length: 5 ", BODY),
        (b"Content-Length: 5\r\nContent-Length: 5", BODY),
        (b"Content-Length: 5, 5", BODY),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5", BODY),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: Chunked ", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", CHUNKED),
        (b"Transfer-Encoding: identity, chunked", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3", CHUNKED),
        (b"Transfer-Encoding: chunked\r\nContent-Length: many", CHUNKED),
    ],
)
def test_the_end_of_a_body_is_known(fields, body):
    """However it is written, and nothing after it is read: the connection may be kept."""
    response = answer(START + fields + b"\r\n\r\n" + body, b"more")
    assert response.read1(999) == BODY
    assert response.read1(999) == b""
    assert not response.will_close


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        *(
            (b"Content-Length: " + bad, BadContentLength)
            for bad in (b"", b"many", b"-5", b"+5", b"1_0", b"\xb2", b"5, 6", b"5,", b"9" * 5000)
        ),
        (b"Content-Length: 5\r\nContent-Length: 6", BadContentLength),
        *(
            (b"Transfer-Encoding: " + bad, http.client.UnknownTransferEncoding)
            for bad in (b"gzip, chunked", b"gzip", b"chunked, gzip", b"x")
        ),
        (b"Transfer-Encoding: gzip\r\nContent-Length: 5", http.client.UnknownTransferEncoding),
    ],
)
def test_an_end_that_can_not_be_known(fields, error):
    """Reading until the connection ends would wait for as long as it is kept."""
    with pytest.raises(error):
        answer(START + fields + b"\r\n\r\n" + BODY)


def test_a_body_without_any_framing_ends_with_its_connection():
    """That is HTTP, too."""
    response = answer(START + b"\r\n", b"hel", b"lo")
    assert response.will_close
    assert response.read1(9) + response.read1(9) == BODY


LENGTH = b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    ("status", "fields", "is_kept"),
    [
        (b"204 No Content", b"", True),
        (b"204 No Content", b"Content-Length: 0\r\n", True),
        (b"204 No Content", LENGTH, False),
        (b"204 No Content", b"Transfer-Encoding: chunked\r\n", False),
        (b"304 Not Modified", LENGTH, True),
        (b"101 Switching Protocols", b"", False),
    ],
)
def test_a_status_without_a_body(status, fields, is_kept):
    """Whatever its headers announce is not read; where it may come, the connection is not kept."""
    response = answer(b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n", CHUNKED)
    assert response.will_close is not is_kept
    assert response.read1(9) == b""


@pytest.mark.parametrize(
    "junk",
    [
        b"no header",
        b"No Header: x",
        b"From nobody",
        b"\xff: x",
        b": x",
        b"no header\r\n folded",
        b"<html>\r\n<p>",
    ],
)
def test_a_line_that_is_no_header(junk):
    """It is left out: those after it count as well."""
    response = answer(START + b"A: a\r\n" + junk + b"\r\nContent-Length: 5\r\nB: b\r\n\r\nhello+")
    assert response.read1(9) == BODY
    assert response.headers.items() == [("A", "a"), ("Content-Length", "5"), ("B", "b")]


@pytest.mark.parametrize("blank", [b" ", b"\t", b"  "])
def test_a_blank_before_the_colon(blank):
    """It is no part of the name."""
    response = answer(START + b"Content-Length" + blank + b": 5\r\n\r\nhello+")
    assert response.read1(9) == BODY


def test_a_header_of_several_lines():
    """Old servers fold long ones."""
    response = answer(START + b" x\r\nA: a \r\n\t b\r\nContent-Length: 5\r\n\r\nhello")
    assert response.headers.items() == [("A", "a b"), ("Content-Length", "5")]
    assert response.read1(9) == BODY


def test_a_carriage_return_in_a_header():
    """It ends no header, so nobody smuggles one in with it."""
    response = answer(START + b"A: a\rContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello")
    assert response.headers.items() == [("A", "a Content-Length: 3"), ("Content-Length", "5")]
    assert response.read1(9) == BODY


def test_values_are_taken_as_they_are():
    """Bytes beyond ASCII, colons and empty values included; of the same name, all."""
    fields = b"A: \xe9: \xff \r\nB:\r\na:c\r\nContent-Length: 5\r\n"
    response = answer(START + fields + b"\r\nhello")
    assert response.headers.get_all("a") == ["é: ÿ", "c"]
    assert response.headers["B"] == ""


@pytest.mark.parametrize("line", [b"A: b\r\n", b" folded\r\n"])
def test_too_many_headers(line):
    """Or lines of one: they would fill the memory."""
    head = START + b"Content-Length: 5\r\nZ: z\r\n" + line * (MOST_LINES - 2)
    assert answer(head + b"\r\n" + BODY).read1(9) == BODY
    with pytest.raises(http.client.HTTPException, match="more than 100 headers"):
        answer(head + line + b"\r\n" + BODY)


def test_a_cut_head_is_none():
    """Wherever it is cut, within a line or after one."""
    head = START + b"A: a\r\nno header\r\nContent-Length: 5\r\n\r\n"
    assert answer(head).headers["A"] == "a"
    for cut in range(len(head) - 1):
        with pytest.raises(http.client.HTTPException):
            answer(head[:cut])


def test_interim_heads():
    """They come before the head of the answer, and may have headers of their own."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 3\r\n\r\n"
    response = answer(b"HTTP/1.1 100 Continue\r\n\r\n" + early * 3, START + b"A: b\r\n\r\n")
    assert response.status == 200
    assert response.headers.items() == [("A", "b")]


@pytest.mark.parametrize(
    "endless",
    [b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1), START + b"x\r\n" * (MOST_DROPPED + 1)],
)
def test_a_head_without_end(endless):
    """It is given up, however fast it comes."""
    with pytest.raises(BadHead):
        answer(endless + START + b"\r\n")


@pytest.mark.parametrize("start", [b"hello\r\n", b"\r\n", b"HTTP/1.1 OK\r\n", b"A: b\r\n"])
def test_a_status_line_is_not_looked_for(start):
    """What stands in its place is no line to leave out: the rest may be another answer."""
    with pytest.raises(http.client.BadStatusLine):
        answer(start + START + b"Content-Length: 5\r\n\r\nhello")


def test_the_rest_of_a_long_line_is_no_header():
    """A line that is too long is refused as a whole."""
    with pytest.raises(http.client.LineTooLong):
        answer(START + b"x" * 65537 + b"Content-Length: 5\r\n\r\nhello")


def test_padded_sizes_of_chunks():
    """Zeros before a size say nothing."""
    response = answer(
        START + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 40 + b"5\r\nhello\r\n000\r\n\r\n"
    )
    assert response.read1(99) == BODY
    read_all(response)
