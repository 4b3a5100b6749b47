"""The entries of a shared log, and their bytes. Pure.

An entry's first line says how to read the rest: the version of the format, the kind, and how the
data is packed. A reader skips kinds that it does not know, and reads for itself where it does not
know the version: workers of two versions of this library share a log while they are replaced.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any, NamedTuple, Protocol

import attrs

VERSION = 1
# Bytes of data from which on it is compressed.
COMPRESSED_FROM = 1024
# Bytes of an entry's data at the most: twice the largest answer of the API.
MOST_BYTES = 512 << 20

# The kinds. Snapshot: opens an epoch with all rows, so that nothing before it is needed.
SNAPSHOT = "S"
# Answer: rows that changed, and the keys of those that are gone.
ANSWER = "A"
# Continuation: opens an epoch of a stream that goes on, with parts.
CONTINUATION = "C"
PARTS = "P"
# The end of a stream was proven, though its writer may write on; and: the stream is over.
DRAINED = "D"
OVER = "Z"
# An error that ended the reading, and one that did not.
ERROR = "E"
WARNING = "W"

_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


class EntryId(NamedTuple):
    """Where an entry is in its log: ids grow, and are consecutive within an epoch.

    Attributes:
        epoch: another one for each leader, and each time that it begins again.
        n: counted from 1.
    """

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.n}"

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:40]!r} is not the id of an entry")
        return cls(int(match[1]), int(match[2]))

    @property
    def next(self) -> EntryId:
        """The one after it in its epoch."""
        return EntryId(self.epoch, self.n + 1)


@attrs.frozen
class Entry:
    """One entry.

    Attributes:
        kind: a letter.
        data: what JSON can hold.
    """

    kind: str
    data: dict[str, Any]


@attrs.frozen
class Placed:
    """An entry in its place.

    Attributes:
        entry: None where it can't be read here.
        is_past: whether it may tell what this follower was told before: the log was put back.
    """

    id: EntryId
    entry: Entry | None
    is_past: bool = False


class Unreadable(Exception):
    """The entry is of a later version, encrypted with another key, or none of ours."""


class Cipher(Protocol):
    """What `cryptography.fernet.Fernet` is."""

    def encrypt(self, data: bytes) -> bytes: ...

    def decrypt(self, token: bytes) -> bytes: ...


class Codec:
    """Makes bytes of entries and back.

    Args:
        cipher: encrypts all data, if any.
    """

    def __init__(self, cipher: Cipher | None = None) -> None:
        self._cipher = cipher

    def encode(self, entry: Entry) -> bytes:
        """Return the bytes of an entry."""
        packing, data = "", _dump(entry.data)
        if len(data) >= COMPRESSED_FROM:
            packing, data = "z", zlib.compress(data, 1)
        if self._cipher is not None:
            packing, data = packing + "f", self._cipher.encrypt(data)
        return f"{VERSION} {entry.kind} {packing}\n".encode() + data

    def decode(self, blob: bytes) -> Entry:
        """Return the entry of some bytes.

        Raises:
            Unreadable: see there.
        """
        head, _, data = blob.partition(b"\n")
        words = head.decode("latin-1").split(" ")
        if len(words) < 3 or not words[0].isdigit():
            raise Unreadable("it is no entry of a shared log")
        if int(words[0]) > VERSION:
            raise Unreadable("a newer version of this library wrote it")
        return Entry(words[1], _load(self.unpack(words[2], data)))

    def seal(self, text: str) -> bytes:
        """Return a text as it may lie in the store."""
        data = text.encode()
        return data if self._cipher is None else b"f " + self._cipher.encrypt(data)

    def unseal(self, data: bytes) -> str:
        """Return a text that was sealed; for errors see `decode`."""
        is_sealed = data.startswith(b"f ")
        return self.unpack("f" if is_sealed else "", data[2 * is_sealed :]).decode()

    def unpack(self, packing: str, data: bytes) -> bytes:
        """Return the data as it was before it was packed; for errors see `decode`."""
        if ("f" in packing) is not (self._cipher is not None):
            raise Unreadable("one of both is encrypted, the entry or what this process writes")
        try:
            if self._cipher is not None:
                data = self._cipher.decrypt(data)
            return _unzipped(data) if "z" in packing else data
        except Exception as error:  # noqa: BLE001 (of `cryptography`, which may not be installed)
            raise Unreadable(f"it can't be unpacked: {type(error).__name__}") from None


def _unzipped(data: bytes) -> bytes:
    inflate = zlib.decompressobj()
    whole = inflate.decompress(data, MOST_BYTES)
    if not inflate.eof:
        raise Unreadable("it is cut off, or too large")
    return whole


def _dump(data: Any) -> bytes:
    # The standard library's: what it writes of any value that JSON gave, it reads as the same one.
    return json.dumps(data, separators=(",", ":")).encode("ascii")


def _load(data: bytes) -> Any:
    try:
        loaded = json.loads(data)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict):
        raise Unreadable("its data is no JSON object")
    return loaded
