"""What was last known under each id, so that subscribing again shows it at once."""

from __future__ import annotations

from collections import OrderedDict

from .._channel.part_store import MAX_PART_BYTES
from .._channel.run_view import RunView
from .._channel.target import Target


class ViewCache:
    """The latest views by id, the least recently used dropped first. Not thread-safe.

    The parts of streams are bounded for all ids together: the views used least recently lose
    theirs, which are read anew. Those of the latest stay, whatever its own bound is.

    Args:
        most: how many ids are remembered.
        most_part_bytes: in how many bytes of the body the parts of all views may have come.
    """

    def __init__(self, most: int, most_part_bytes: int = MAX_PART_BYTES) -> None:
        self._most = most
        self._most_part_bytes = most_part_bytes
        self._views: OrderedDict[str, tuple[Target, RunView]] = OrderedDict()
        # Of the views that have parts, in the same order.
        self._part_bytes: OrderedDict[str, int] = OrderedDict()

    def get(self, id_: str, target: Target) -> RunView:
        """Return what was last known of the target under the id, or an empty view."""
        known, view = self._views.get(id_, (None, None))
        if view is None or known != target:
            return target.new_view()
        self._views.move_to_end(id_)
        if id_ in self._part_bytes:
            self._part_bytes.move_to_end(id_)
        return view

    def put(self, id_: str, target: Target, view: RunView) -> None:
        """Remember a view, unless it is empty."""
        if not view or not self._most:
            return
        self._views[id_] = (target, view)
        self._views.move_to_end(id_)
        self._part_bytes.pop(id_, None)
        if view.parts is not None and view.parts.kept_bytes:
            self._part_bytes[id_] = view.parts.kept_bytes
        while len(self._views) > self._most:
            dropped, _ = self._views.popitem(last=False)
            self._part_bytes.pop(dropped, None)
        while len(self._part_bytes) > 1 and self._has_too_many_parts():
            self._drop_parts(self._part_bytes.popitem(last=False)[0])

    def forget(self, id_: str | None) -> None:
        """Drop the view of an id, or every view."""
        if id_ is None:
            self._views.clear()
            self._part_bytes.clear()
        else:
            self._views.pop(id_, None)
            self._part_bytes.pop(id_, None)

    def _has_too_many_parts(self) -> bool:
        return sum(self._part_bytes.values()) > self._most_part_bytes

    def _drop_parts(self, id_: str) -> None:
        target, view = self._views[id_]
        self._views[id_] = target, without_parts(target, view)


def without_parts(target: Target, view: RunView) -> RunView:
    """Return the same runs. Their streams are read from the beginning again."""
    runs = view.by_key()
    view = target.new_view()
    view.put(runs)
    return view
