"""What a test asks of a server that is triggered: its tasks, and what came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._access import Access
from ._run_book import RunBook, Triggered
from ._run_life import RunLife
from ._settings import RoundTrip
from ._trouble import TroubleControl

_FunctionT = TypeVar("_FunctionT", bound=Callable[..., Any])


class RoundTripControl(TroubleControl):
    """The part of `RealtimeServer` that is about runs which clients trigger.

    Safe from any thread.

    Attributes:
        settings: what can be changed while the server runs.
    """

    settings: RoundTrip
    _access: Access
    _book: RunBook
    _life: RunLife

    def task(self, id: str) -> Callable[[_FunctionT], _FunctionT]:
        """Run the decorated function for every run of that task that is triggered from now on.

        It gets the payload in Python's types (None where there is none), on a thread of the
        server's, and returns the output. If it raises, the run fails. A run without a function
        stays QUEUED for the test to drive.
        """

        def register(function: _FunctionT) -> _FunctionT:
            self._life.register(id, function)
            return function

        return register

    def public_token(self, *scopes: str, expires_in: float = 3600.0, **claims: Any) -> str:
        """Return a public token as the server makes them, with these scopes and more claims.

        Args:
            expires_in: seconds; it has expired already if that is not positive.
            claims: `otu`, `realtime` and so on; they replace the usual ones.
        """
        usual = {"sub": self._access.environment, "pub": True, "scopes": list(scopes)}
        return self._access.mint({**usual, **claims}, expires_in)

    def triggered(self, task: str | None = None) -> list[Triggered]:
        """Return what clients have triggered: of one task, or of all, in the order of arrival."""
        return self._book.triggered(task)
