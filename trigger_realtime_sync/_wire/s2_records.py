"""What one record of S2 says (docs/protocol.md, section 4)."""

from __future__ import annotations

from typing import Any

from .json import BeyondLimits, loads


def mark_of(record: dict[str, Any]) -> tuple[Any, int]:
    """Return what no two records with one number have in common: the time of the write, and the
    body."""
    body = record.get("body")
    return record.get("timestamp"), hash(body) if isinstance(body, str) else 0


def what_is_wrong(seq_num: int, body: Any) -> str:
    try:
        loads(body if isinstance(body, str) else "")
    except BeyondLimits as problem:
        return f"record {seq_num} of the stream can't be read: {problem}"
    except ValueError:
        pass
    return f"record {seq_num} of the stream is not an envelope"


def text_of(ident: Any) -> str | None:
    """Return an envelope's id as text, None where it is none."""
    if type(ident) is float and ident.is_integer():
        ident = int(ident)
    if type(ident) in (int, float):
        return str(ident)
    return ident if type(ident) is str else None


def body_of(record: Any) -> str | None:
    """Return the body, None where there is none to decode."""
    if not isinstance(record, dict):
        return None
    body = record.get("body")
    return body if isinstance(body, str) and body and not is_command(record) else None


def _headers_of(record: dict[str, Any]) -> list[list[Any]]:
    headers = record.get("headers")
    if not isinstance(headers, list):
        return []
    return [header for header in headers if isinstance(header, list) and header]


def is_command(record: dict[str, Any]) -> bool:
    """Return True for a trim or a fence, which are for the storage and not for readers."""
    headers = _headers_of(record)
    return bool(headers) and headers[0][0] == ""


def is_control(record: dict[str, Any]) -> bool:
    return not record.get("body") and any(h[0] == "trigger-control" for h in _headers_of(record))


def texts_of_headers(record: dict[str, Any]) -> dict[str, str]:
    """Return the headers that are texts by name; of several with one name the first counts."""
    texts: dict[str, str] = {}
    for header in _headers_of(record):
        if len(header) > 1 and isinstance(header[0], str) and isinstance(header[1], str):
            texts.setdefault(header[0], header[1])
    return texts


def tail_of(message: Any) -> int | None:
    tail = message.get("tail") if isinstance(message, dict) else None
    seq_num = tail.get("seq_num") if isinstance(tail, dict) else None
    return seq_num if type(seq_num) is int and seq_num >= 0 else None
