"""An encoded body is whole when its encoding says so, and no more of it is decoded than is read."""

from __future__ import annotations

import gzip
import importlib
import itertools
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._http.chunked import READ_SIZE
from trigger_realtime_sync._http.encoding import (
    LONGEST_VOID,
    NO_ENCODINGS,
    BadEncoding,
    Decoder,
    UnknownEncoding,
    decoder_of,
)

TEXT = b"".join(b"line %d of the report\n" % n for n in range(3000))


def raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeeze.compress(data) + squeeze.flush()


def brotli(data: bytes) -> bytes:
    module = pytest.importorskip("brotli", minversion="1.2")
    packed: bytes = module.compress(data)
    return packed


def zstd(data: bytes) -> bytes:
    packed: bytes = pytest.importorskip("backports.zstd").compress(data)
    return packed


FORMS: list[Any] = [
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param("deflate", zlib.compress, id="zlib"),
    pytest.param("deflate", raw_deflate, id="deflate"),
    pytest.param("br", brotli, id="br"),
    pytest.param("zstd", zstd, id="zstd"),
]
each_form = pytest.mark.parametrize(("name", "pack"), FORMS)


def decoder(name: str) -> Decoder:
    found = decoder_of(name)
    assert found is not None
    return found


def decode(name: str, *pieces: bytes) -> bytes | None:
    """Return what the body decodes to; None if it is cut or corrupt."""
    reader = decoder(name)
    try:
        data = b"".join(part for piece in pieces for part in reader.feed(piece))
    except BadEncoding:
        return None
    return data if reader.ended else None


@each_form
def test_cut_at_every_byte(name, pack):
    """No beginning of a body is the body, and no end of one is lost."""
    packed = pack(TEXT[:2000])
    for at in range(len(packed)):
        reader = decoder(name)
        start = b"".join(reader.feed(packed[:at]))
        assert not reader.ended
        assert start + b"".join(reader.feed(packed[at:])) == TEXT[:2000]
        assert reader.ended


@each_form
def test_byte_by_byte(name, pack):
    """However the bytes arrive."""
    packed = pack(TEXT)
    assert decode(name, *(packed[at : at + 1] for at in range(len(packed)))) == TEXT


@each_form
def test_nothing_is_a_body_too(name, pack):
    """It has an end mark of its own; no bytes at all have none."""
    assert decode(name, pack(b"")) == b""
    assert decode(name) is None
    assert decode(name, b"") is None


@each_form
@pytest.mark.parametrize("what", [b"x", b"<html>"])
def test_more_after_the_end(name, pack, what):
    """Whatever it is, the encoding does not have it."""
    assert decode(name, pack(TEXT) + what) is None
    assert decode(name, pack(TEXT), what) is None


@pytest.mark.parametrize(("name", "pack"), FORMS[:2])
def test_a_changed_byte_is_found_by_the_checksum(name, pack):
    """The last bytes are the sum over all data."""
    packed = bytearray(pack(TEXT))
    packed[-6 if name == "gzip" else -2] ^= 1
    assert decode(name, bytes(packed)) is None


@each_form
def test_what_is_no_such_encoding(name, pack):
    """An error page, say, that a proxy labels as the answer it replaced."""
    assert pack(b"")  # Skips where there is no decoder.
    assert decode(name, b"<!DOCTYPE html><title>502 Bad Gateway</title>" * 2000) is None


@each_form
def test_a_bomb_is_decoded_as_it_is_read(name, pack):
    """A few kilobytes that decode to many megabytes: by pieces of about one read."""
    packed, size = pack(bytes(32 << 20)), 0
    assert len(packed) < 40_000
    reader = decoder(name)
    for piece in reader.feed(packed):
        assert len(piece) <= 2 * READ_SIZE
        size += len(piece)
    assert size == 32 << 20
    assert reader.ended


@given(
    members=st.lists(st.binary(max_size=2000), min_size=1, max_size=5),
    fill=st.integers(0, 600),
    cuts=st.lists(st.integers(0, 20_000), max_size=8),
    big=st.booleans(),
)
def test_members_of_gzip(members, fill, cuts, big):
    """One follows the other, and zeros may fill the last block: the body is all of them."""
    if big:
        members = [*members, bytes(3 * READ_SIZE)]
    packed = b"".join(map(gzip.compress, members)) + bytes(fill)
    bounds = sorted({0, len(packed), *(cut % len(packed) for cut in cuts)})
    pieces = [packed[a:b] for a, b in itertools.pairwise(bounds)]
    assert decode("gzip", *pieces) == b"".join(members)


@pytest.mark.parametrize("end", [1, 2, 10, 19])
def test_a_cut_within_a_later_member(end):
    """The first one alone is not the body."""
    assert decode("gzip", gzip.compress(TEXT) + gzip.compress(b"more")[:end]) is None
    assert decode("gzip", gzip.compress(TEXT), gzip.compress(b"more")[:end]) is None


def test_frames_of_zstandard():
    """They follow each other, too."""
    assert decode("zstd", zstd(b"one") + zstd(b"two")) == b"onetwo"
    assert decode("zstd", zstd(b"one") + zstd(b"two")[:-1]) is None


@pytest.mark.parametrize("size", [READ_SIZE - 1, READ_SIZE, READ_SIZE + 1, 2 * READ_SIZE])
@each_form
def test_sizes_at_the_limit_of_a_read(name, pack, size):
    """All of the data and the end mark are seen, even where a piece is just full."""
    data = (TEXT * 4)[:size]
    assert decode(name, pack(data)) == data


@pytest.mark.parametrize("void", [gzip.compress(b"", mtime=0), bytes(1000)], ids=["members", "0"])
def test_nothing_without_end(void):
    """A body that decodes to nothing for a megabyte is given up: no limit of size would end it."""
    count = LONGEST_VOID // len(void)
    assert decode("gzip", gzip.compress(b"x"), *[void] * (count - 1)) == b"x"
    assert decode("gzip", gzip.compress(b"x"), *[void] * (count + 1)) is None


@pytest.mark.parametrize("name", [*sorted(NO_ENCODINGS), "identity, aws-chunked", " Identity "])
def test_names_of_no_encoding(name):
    """The body is as it was sent."""
    assert decoder_of(name) is None


@pytest.mark.parametrize("name", ["GZIP", " x-gzip", "gzip, aws-chunked", "identity,gzip"])
def test_names_of_gzip(name):
    """Case, blanks and names of no encoding do not matter."""
    assert decode(name, gzip.compress(TEXT)) == TEXT


@pytest.mark.parametrize("name", ["gzip, gzip", "compress", "gzip, br", "tr_secret", "br;q=1"])
def test_names_that_nothing_decodes(name):
    """The error does not quote what the server sent."""
    with pytest.raises(UnknownEncoding) as caught:
        decoder_of(name)
    assert name not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "modules"), [("br", ("brotli", "brotlicffi")), ("zstd", ("backports.zstd",))]
)
def test_a_package_that_is_not_there(name, modules, monkeypatch):
    """The error says which one would decode it."""
    real: Callable[..., Any] = importlib.import_module

    def import_module(wanted: str) -> Any:
        if wanted in (*modules, "compression.zstd"):
            raise ImportError(wanted)
        return real(wanted)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(UnknownEncoding, match=f"content-encoding {name}, which"):
        decoder_of(name)
