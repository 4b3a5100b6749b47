"""What a test asks of a server that is triggered: its tasks, and what came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ._access import Access
from ._api import Api
from ._auth_routes import AuthRoutes
from ._batch_routes import BatchRoutes
from ._batches import Batches
from ._input_routes import InputRoutes
from ._metadata_routes import MetadataRoutes
from ._packet_routes import PacketRoutes
from ._replays import ReplayRoutes
from ._rest import Rest
from ._run_book import RunBook, Triggered
from ._run_life import RunLife
from ._run_list import RunList
from ._run_routes import RunRoutes
from ._session_control import SessionControl
from ._session_routes import SessionRoutes
from ._sessions import Sessions
from ._settings import RoundTrip
from ._trigger_routes import TriggerRoutes
from ._triggers import Triggers
from ._trouble import TroubleControl
from ._wait_token_routes import WaitTokenRoutes
from ._wait_tokens import WaitToken, WaitTokens

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
    _input_routes: InputRoutes
    _wait_tokens: WaitTokens
    _sessions: Sessions

    def _build_round_trip(self, base_url: Callable[[], str]) -> Api:
        """Make what the round trip consists of, and return its routes."""
        self.settings = RoundTrip()
        self._book = RunBook(self._store)
        self._life = RunLife(self, self._book)
        self._input_routes = InputRoutes(self._store)
        self._wait_tokens = WaitTokens(self._access, base_url, self._life.after)
        triggers = Triggers(self, self._book, self._life, self.settings)
        batches = Batches(self, self._book, self._life, triggers, self.settings)
        self._sessions = Sessions(self, triggers, self._stream_logs)
        packets = PacketRoutes(self._store, base_url, self.settings)
        return Api(
            packets,
            WaitTokenRoutes(self._wait_tokens, self._access),
            Rest(self._store, self._book, packets),
            TriggerRoutes(triggers, self._access),
            BatchRoutes(batches, self._access, self.settings),
            AuthRoutes(self._access, self.settings),
            self._input_routes,
            RunList(self._store, self._book, self.settings),
            MetadataRoutes(self),
            ReplayRoutes(self, self._book, triggers, self.settings),
            RunRoutes(self, self._book, self._life),
            SessionRoutes(self._sessions, self._access),
        )

    # --- tasks and tokens

    def task(self, id: str) -> Callable[[_FunctionT], _FunctionT]:
        """Run the decorated function for every run of that task that is triggered from now on.

        It gets the payload in Python's types (None where there is none), on a thread of the
        server's, and returns the output. If it raises, the run fails. It may write to its run by
        `current_run`. A run without a function stays QUEUED for the test to drive.
        """

        def register(function: _FunctionT) -> _FunctionT:
            self._life.register(id, function)
            return function

        return register

    @property
    def current_run(self) -> str:
        """The id of the run that is executed on this thread: for functions of `task`.

        Raises:
            AttributeError: the thread executes none.
        """
        return self._life.current

    def public_token(self, *scopes: str, expires_in: float = 3600.0, **claims: Any) -> str:
        """Return a public token as the server makes them, with these scopes and more claims.

        Args:
            expires_in: seconds; it has expired already if that is not positive.
            claims: `otu`, `realtime` and so on; they replace the usual ones.
        """
        usual = {"sub": self._access.environment, "pub": True, "scopes": list(scopes)}
        return self._access.mint({**usual, **claims}, expires_in)

    def restrict(self, key: str, *scopes: str) -> None:
        """Let a secret key cover these scopes alone."""
        self._access.key_scopes[key] = scopes

    def triggered(self, task: str | None = None) -> list[Triggered]:
        """Return what clients have triggered: of one task, or of all, in the order of arrival."""
        return self._book.triggered(task)

    def inputs(self, run_id: str, stream: str) -> list[Any]:
        """Return what was sent to an input stream of the run, oldest first.

        What was sent without data is None, as null is.
        """
        return self._input_routes.inputs(run_id, stream)

    def wait_for_inputs(
        self, run_id: str, stream: str, count: int = 1, timeout: float = 5.0
    ) -> list[Any]:
        """Block until that much was sent to an input stream of the run.

        Raises:
            TimeoutError: it is less.
        """
        return self._input_routes.wait(run_id, stream, count, timeout)

    @property
    def wait_tokens(self) -> list[WaitToken]:
        """The wait tokens that were made, oldest first, as they are now."""
        return self._wait_tokens.all()

    def session(self, name: str) -> SessionControl:
        """Return a session by its id or external id, to play its agent; it need not exist yet."""
        return SessionControl(self._sessions, name, self._access.environment)
