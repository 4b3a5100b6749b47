"""Many usual v2 records at once: the fast twin of `StreamV2._take_record`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .joined import MALFORMED, loads_all

_DATA, _ID, _END = '{"data":', ',"id":"', '"}'


def usual_records(
    records: list[Any], next_seq_num: int, known: Mapping[str, Any]
) -> tuple[dict[str, None], list[Any], list[str]] | None:
    """Return the envelope ids, as keys in order, the values and the bodies of records that follow
    each other, each a new part.

    Returns None where one may be something else, or a retried write.

    Args:
        next_seq_num: the sequence number that the first of them must have.
        known: the envelope ids of earlier records.
    """
    bodies = _bodies(records, next_seq_num)
    if bodies is None:
        return None
    idents, texts = split_envelopes(bodies)
    different = dict.fromkeys(idents)
    # An empty id is none: such parts are never the same.
    if len(different) < len(records) or "" in different or not known.keys().isdisjoint(different):
        return None
    values = loads_all(texts)
    return None if MALFORMED in values else (different, values, bodies)


def _bodies(records: list[Any], next_seq_num: int) -> list[Any] | None:
    try:
        bodies = [record["body"] for record in records if not record.get("headers")]
        numbers = [record["seq_num"] for record in records]
    except (KeyError, TypeError, AttributeError):
        return None
    if len(bodies) < len(records) or set(map(type, numbers)) != {int}:
        return None
    return bodies if numbers == list(range(next_seq_num, next_seq_num + len(numbers))) else None


def split_envelopes(bodies: list[Any]) -> tuple[list[str], list[str]]:
    """Return the ids, and the JSON texts of the data, of envelopes as servers write them:
    `{"data":…,"id":"…"}`. Returns no ids where one may be written otherwise.

    They are not parsed, and the result is certain all the same: if the text between is one JSON
    value, and the id has nothing that JSON would escape, the whole is an object of these two and
    nothing else.
    """
    try:
        joined = "\n".join(bodies)
    except TypeError:
        return [], []
    pieces = joined[len(_DATA) : -len(_END)].split(f"{_END}\n{_DATA}")
    parts = [piece.rpartition(_ID) for piece in pieces]
    idents = [ident for _, _, ident in parts]
    names = "".join(idents)
    if (
        len(pieces) < len(bodies)
        or joined.count("\n") >= len(bodies)
        or not (joined.startswith(_DATA) and joined.endswith(_END))
        or '"' in names
        or "\\" in names
        or not names.isprintable()
    ):
        return [], []
    return idents, [text for text, _, _ in parts]
