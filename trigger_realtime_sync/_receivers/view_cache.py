"""What was last known under each id, so that subscribing again shows it at once."""

from __future__ import annotations

from collections import OrderedDict

from .._channel.run_view import RunView
from .._channel.target import Target


class ViewCache:
    """The latest views by id, the least recently used dropped first. Not thread-safe.

    Args:
        most: how many ids are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._views: OrderedDict[str, tuple[Target, RunView]] = OrderedDict()

    def get(self, id_: str, target: Target) -> RunView:
        """Return what was last known of the target under the id, or an empty view."""
        known, view = self._views.get(id_, (None, None))
        if view is None or known != target:
            return target.new_view()
        self._views.move_to_end(id_)
        return view

    def put(self, id_: str, target: Target, view: RunView) -> None:
        """Remember a view, unless it is empty."""
        if not view or not self._most:
            return
        self._views[id_] = (target, view)
        self._views.move_to_end(id_)
        while len(self._views) > self._most:
            self._views.popitem(last=False)

    def forget(self, id_: str | None) -> None:
        """Drop the view of an id, or every view."""
        if id_ is None:
            self._views.clear()
        else:
            self._views.pop(id_, None)
