"""What a public access token lets its holder do.

A scope without an id, or with an empty one, means all. Source: docs/protocol.md, section R4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..models import Task
from .options import check_name

READ_KINDS = {
    "runs": "runs",
    "tasks": "tasks",
    "tags": "tags",
    "batches": "batch",
    "sessions": "sessions",
}
WRITE_KINDS = {
    "input_streams": "inputStreams",
    "waitpoints": "waitpoints",
    "runs": "runs",
    "sessions": "sessions",
}
ADMIN = "admin"
TRIGGER, BATCH_TRIGGER = "trigger", "batchTrigger"


def check_scopes(
    read: Any = None, write: Any = None, trigger: Any = (), batch_trigger: Any = (), raw: Any = ()
) -> list[str]:
    """Return the scopes of a token, in the order of the arguments.

    Raises:
        ValueError: there is none, or one would mean something else than it seems to.
    """
    scopes = [
        *_of_kinds("read", read, READ_KINDS),
        *_of_kinds("write", write, WRITE_KINDS),
        *(f"{TRIGGER}:tasks:{one}" for one in _check_ids(trigger, "trigger", empty=True)),
        *(
            f"{BATCH_TRIGGER}:tasks:{one}"
            for one in _check_ids(batch_trigger, "batch_trigger", empty=True)
        ),
        *map(_check_raw, _texts(raw, "scopes")),
    ]
    if not scopes:
        raise ValueError("a token without a scope may do nothing: name what it may do")
    return list(dict.fromkeys(scopes))


def only_triggers(scopes: Iterable[str]) -> bool:
    """Return True if these scopes trigger, and nothing else."""
    return all(scope.partition(":")[0] in (TRIGGER, BATCH_TRIGGER) for scope in scopes)


def _of_kinds(action: str, given: Any, kinds: Mapping[str, str]) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, Mapping):
        raise ValueError(f"{action} must map kinds to ids, not be {type(given).__name__}")
    scopes: list[str] = []
    for kind, ids in given.items():
        if kind not in kinds:
            raise ValueError(f"{action} knows {', '.join(kinds)}, not {kind!r}")
        if ids is True:
            scopes.append(f"{action}:{kinds[kind]}")
        else:
            name = f"{action}[{kind!r}]"
            scopes += [f"{action}:{kinds[kind]}:{one}" for one in _check_ids(ids, name)]
    return scopes


def _check_ids(given: Any, name: str, *, empty: bool = False) -> list[str]:
    ids = [check_name(one, f"an id in {name}") for one in _texts(given, name)]
    if not ids and not empty:
        raise ValueError(f"{name} names no id: True means all")
    return ids


def _texts(given: Any, name: str) -> list[Any]:
    if isinstance(given, (str, Task)):
        given = [given]
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be an id or a list of ids, not {given!r}")
    return [one.identifier if isinstance(one, Task) else one for one in given]


def _check_raw(scope: Any) -> str:
    text = check_name(scope, "one of scopes")
    parts = text.split(":", 2)
    if text != ADMIN and (len(parts) < 2 or not all(part.strip() for part in parts)):
        raise ValueError(f"scopes: {text!r} is no 'action:type' or 'action:type:id'")
    return text
