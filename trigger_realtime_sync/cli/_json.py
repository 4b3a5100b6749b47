"""Runs and parts as JSON, whatever they hold."""

from __future__ import annotations

import json
from typing import Any

import attrs

from .._plain import plain
from ..errors import PayloadError
from ..models import AnyRun, Run

MAX_VALUES = 1_000_000

FIELDS = tuple(field.name.lstrip("_") for field in attrs.fields(Run))


def dumps(value: Any, *, ascii_only: bool = False) -> str:
    """One line of JSON."""
    return json.dumps(plain(value, MAX_VALUES), ensure_ascii=ascii_only, allow_nan=False)


def run_as_dict(run: AnyRun) -> dict[str, Any]:
    """All fields of a run; those that can't be read are null, and told in `payload_errors`."""
    fields: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in FIELDS:
        try:
            fields[name] = getattr(run, name)
        except PayloadError as error:
            fields[name] = None
            errors[name] = str(error)
    if errors:
        fields["payload_errors"] = errors
    return fields
