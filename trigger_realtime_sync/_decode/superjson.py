"""superjson documents, of 2.2.1 or the newest version, to Python values.

Source: docs/protocol.md, section 3.

A document is `{"json": …, "meta"?: {"values"?: …, "referentialEqualities"?: …, "v"?: 1}}`. The
annotations of `values` are applied in place, children first. Python's sets and dicts lose the
order that paths refer to, so cycles are resolved before that, on the raw JSON: each end of a cycle
becomes a `Hole`, which moves along with its container and is filled at the end.

Nothing here recurses, and all of it takes linear time: documents come from the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .._types.superjson_error import SuperJSONError
from .superjson_types import Converter, Hole

__all__ = ["SuperJSONError", "decode"]

# A container, and a key or an index in it.
_Slot = tuple[Any, Any]

# How many characters one document may look up to resolve paths that 2.2.1 wrote ambiguously: this
# many, plus some for each character of such a path. Bounds the time that a hostile document takes.
_SEARCH_BUDGET = 1_000_000
_SEARCH_BUDGET_PER_CHAR = 32

_LEGACY_TOKEN = re.compile(r"\\\.|\.|\\|[^.\\]+")
_TOKEN = re.compile(r"\\[.\\]|\.|\\|[^.\\]+")


def decode(document: Any) -> Any:
    """Return the value of a parsed superjson document. It is changed, instead of copied.

    undefined is None, a bigint an int, a Date an aware UTC datetime, a regexp a `re.Pattern`, a
    URL a str, an Error a `SuperJSONError`, a Buffer or Uint8Array bytes, another typed array a
    list. A Set is a set and a Map a dict, or a list (of pairs) where Python's own would lose or
    refuse an element. Instances of classes, symbols, unknown types, and whatever does not fit its
    annotation stay JSON values. Cycles are restored.

    Raises:
        ValueError: this is not a superjson document.
    """
    if not isinstance(document, dict):
        raise ValueError("a superjson document must be an object")
    root: list[Any] = [document.get("json")]
    meta = document.get("meta")
    if isinstance(meta, dict):
        version = meta.get("v")
        decoder = _Decoder(legacy=not isinstance(version, (int, float)) or version < 1)
        holes = decoder.cut_cycles(root, meta.get("referentialEqualities"))
        decoder.apply_values(root, meta.get("values"))
        for hole, (container, key) in holes:
            hole.fill(container[key])
    return root[0]


class _Decoder:
    """Decodes one document: knows its kind of paths, and how much it may still search."""

    def __init__(self, *, legacy: bool) -> None:
        self._legacy = legacy
        self._search_budget = _SEARCH_BUDGET
        self._converter = Converter()

    def apply_values(self, root: list[Any], annotations: Any) -> None:
        """Apply `meta.values`: trees of a type, perhaps with children, or of children alone."""
        todo: list[tuple[Any, Any, Any, bool]] = [(root, 0, annotations, False)]
        while todo:
            container, key, tree, children_done = todo.pop()
            if children_done:
                container[key] = self._converter.convert(tree, container[key])
                continue
            children = tree
            if isinstance(tree, list) and tree:
                todo.append((container, key, tree[0], True))
                children = tree[1] if len(tree) > 1 else None
            if isinstance(children, dict):
                for path, subtree in children.items():
                    for slot in self._resolve(container[key], path)[-1:]:
                        todo.append((*slot, subtree, False))

    def cut_cycles(self, root: list[Any], equalities: Any) -> list[tuple[Hole, _Slot]]:
        """Put a hole at each end of a cycle; return each with the slot of the object to fill it.

        superjson writes a repeated object out in full each time, but names the cycles in it only
        where it came first. So in a document with cycles the first one also replaces the others;
        a document without cycles is left as it is.
        """
        groups = [self._routes(root, paths) for paths in _equal_paths(equalities)]
        if all(_value(route) is not None for group in groups for route in group):
            return []
        orders: dict[int, dict[str, int]] = {}
        firsts = [_first(group, orders) for group in groups]
        whole = {_identity(first) for first in firsts if first is not None}
        holes = []
        for group, first in zip(groups, firsts, strict=True):
            for route in group if first is not None else ():
                if _identity(route[-1]) not in whole and _may_be_cut(_value(route)):
                    holes.append((Hole(*route[-1]), first))
        return [(hole, slot) for hole, slot in holes if slot is not None]

    def _routes(self, root: list[Any], paths: list[Any]) -> list[list[_Slot]]:
        """Return the slots along each path, from the root's on; a path of None is the root's."""
        found = []
        for path in paths:
            route = [] if path is None else self._resolve(root[0], path)
            if route or path is None:
                found.append([(root, 0), *route])
        return found

    def _resolve(self, node: Any, path: Any) -> list[_Slot]:
        """Return the slots along a path into raw JSON; none when it leads nowhere."""
        if not isinstance(path, str):
            return []
        route = _walk(node, _segments(path, self._legacy))
        if not route and self._legacy and "." in path:
            return self._search(node, path.split("."))
        return route

    def _search(self, node: Any, pieces: list[str]) -> list[_Slot]:
        """Try to join pieces of a path to longer keys: 2.2.1 leaves some dots unescaped.

        The shortest keys come first, and a key that leads nowhere is given up for a longer one.
        """
        self._search_budget += _SEARCH_BUDGET_PER_CHAR * sum(map(len, pieces))
        route: list[_Slot] = []
        choices = [self._choices(node, pieces, 0)]
        while choices:
            choice = next(choices[-1], None)
            if choice is None:
                choices.pop()
                del route[-1:]
                continue
            node, key, position = choice
            route.append((node, key))
            if position == len(pieces):
                return route
            choices.append(self._choices(node[key], pieces, position))
        return []

    def _choices(self, node: Any, pieces: list[str], start: int) -> Iterator[tuple[Any, Any, int]]:
        if isinstance(node, list):
            index = _index(node, pieces[start])
            if index is not None:
                yield node, index, start + 1
            return
        if not isinstance(node, dict):
            return
        for end in range(start + 1, len(pieces) + 1):
            key = ".".join(pieces[start:end])
            self._search_budget -= len(key) + 1
            if self._search_budget < 0:
                return
            for spelled in {key.replace("\\.", "."): None, key: None}:
                if spelled in node:
                    yield node, spelled, end


def _segments(path: str, legacy: bool) -> list[str]:
    if "\\" not in path:
        return path.split(".")
    segments: list[str] = []
    parts: list[str] = []
    for token in (_LEGACY_TOKEN if legacy else _TOKEN).findall(path):
        if token == ".":
            segments.append("".join(parts))
            parts = []
        else:
            escaped = len(token) == 2 and token[0] == "\\" and token[1] in ".\\"
            parts.append(token[1] if escaped else token)
    return [*segments, "".join(parts)]


def _walk(node: Any, segments: list[str]) -> list[_Slot]:
    route: list[_Slot] = []
    for segment in segments:
        key: Any = segment
        if isinstance(node, list):
            key = _index(node, segment)
            if key is None:
                return []
        elif not isinstance(node, dict) or key not in node:
            return []
        route.append((node, key))
        node = node[key]
    return route


def _index(container: list[Any], segment: str) -> int | None:
    if not (segment.isascii() and segment.isdigit() and len(segment) < 12):
        return None
    index = int(segment)
    return index if index < len(container) else None


def _equal_paths(equalities: Any) -> Iterator[list[Any]]:
    """Yield the groups of paths that lead to one object each; None is the root's path."""
    others = equalities
    if isinstance(equalities, list) and equalities:
        if isinstance(equalities[0], list):
            yield [None, *(path for path in equalities[0] if path is not None)]
        others = equalities[1] if len(equalities) > 1 else None
    if isinstance(others, dict):
        for path, same in others.items():
            if isinstance(same, list):
                yield [path, *(other for other in same if other is not None)]


def _first(group: list[list[_Slot]], orders: dict[int, dict[str, int]]) -> _Slot | None:
    """Return the slot that comes first in the document, of those that hold the object itself."""
    whole = [route for route in group if isinstance(_value(route), (dict, list))]
    if not whole:
        return None
    return min(whole, key=lambda route: [_position(slot, orders) for slot in route])[-1]


def _position(slot: _Slot, orders: dict[int, dict[str, int]]) -> int:
    container, key = slot
    if isinstance(container, list):
        return int(key)
    if id(container) not in orders:
        orders[id(container)] = {name: index for index, name in enumerate(container)}
    return orders[id(container)][key]


def _value(route: list[_Slot]) -> Any:
    container, key = route[-1]
    return container[key]


def _identity(slot: _Slot) -> tuple[int, Any]:
    return id(slot[0]), slot[1]


def _may_be_cut(value: Any) -> bool:
    return value is None or isinstance(value, (dict, list))
