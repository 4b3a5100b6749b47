"""One reader for a whole fleet: the options of `RealtimeClient(shared=…)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ._checks import is_number
from ._sharing.entries import Codec
from ._sharing.status import SharedTarget
from .errors import ConfigurationError

if TYPE_CHECKING:
    import redis

    from ._sharing.fleet import Fleet
    from ._sharing.shared_log import SharedLog

__all__ = ["RedisSharing", "SharedTarget", "Sharing"]

# Seconds; a shorter lease is lost while a process collects its garbage, and a longer one only keeps
# everybody waiting.
LEAST_LEASE = 0.2
LONGEST_LEASE = 60.0
LEAST_HISTORY = 64 << 10
# Seconds that Redis may take to answer, unless the URL or the client says otherwise.
REDIS_SECONDS = 5.0


def _lease(instance: object, attribute: attrs.Attribute[float], value: Any) -> None:
    if not is_number(value) or not LEAST_LEASE <= value <= LONGEST_LEASE:
        raise ConfigurationError(
            f"lease must be {LEAST_LEASE:g} to {LONGEST_LEASE:g} seconds, not {value!r}"
        )


def _flag(instance: object, attribute: attrs.Attribute[bool], value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} must be True or False, not {value!r}")


def _prefix(instance: object, attribute: attrs.Attribute[str], value: Any) -> None:
    if not isinstance(value, str) or not value or not value.isprintable() or set(value) & set("{}"):
        raise ConfigurationError(f"prefix must be a text without braces, not {value!r}")


def _audience(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError("audience must be a text that is not empty, or None")


def _on_outage(instance: object, attribute: attrs.Attribute[str], value: Any) -> None:
    if value not in ("wait", "direct"):
        raise ConfigurationError(f'on_outage must be "wait" or "direct", not {value!r}')


def _history(instance: object, attribute: attrs.Attribute[int], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < LEAST_HISTORY:
        raise ConfigurationError(
            f"history must be a whole number of at least {LEAST_HISTORY} bytes, not {value!r}"
        )


@attrs.frozen(eq=False)
class RedisSharing:
    """Shares what is followed by way of a Redis, with all clients that use the same one.

    Args:
        redis: its URL (`redis://`, `rediss://` for TLS, `unix://`), or a `redis.Redis`, of
            a Sentinel say. Redis Cluster is not supported.
        lease: seconds after which another process takes over what a dead one read.
        lead: whether this process may read for others. With False something else must: processes
            with True, or `trigger-realtime gateway`.
        prefix: how all keys in Redis begin.
        audience: names those who may read the same as this client's own token. Needed for a token
            from a function. By default only the same token is the same audience. A subscription
            with a token of its own is never part of it.
        on_outage: what to do while Redis is away: `"wait"`, in the state RETRYING, or `"direct"`:
            after up to 30 s, drawn at random, each process reads for itself.
        encrypt: a Fernet key (see `cryptography`), by which everything in Redis is encrypted that
            is not an id or a time.
        history: bytes of each stream that are kept in Redis. Whoever needs older parts reads them
            from the API.

    Raises:
        ConfigurationError: an option can't work, or redis-py is not installed.

    Nothing connects before the first subscription.
    """

    redis: Any = attrs.field(repr=False)
    lease: float = attrs.field(default=3.0, validator=_lease, kw_only=True)
    lead: bool = attrs.field(default=True, validator=_flag, kw_only=True)
    prefix: str = attrs.field(default="trs", validator=_prefix, kw_only=True)
    audience: str | None = attrs.field(default=None, validator=_audience, kw_only=True)
    on_outage: str = attrs.field(default="wait", validator=_on_outage, kw_only=True)
    encrypt: str | bytes | None = attrs.field(default=None, repr=False, kw_only=True)
    history: int = attrs.field(default=16 << 20, validator=_history, kw_only=True)

    def __attrs_post_init__(self) -> None:
        client = self._client()
        if client is not self.redis:
            client.close()
        self.make_codec()

    def make_codec(self) -> Codec:
        """Return what makes entries: for the library itself."""
        if self.encrypt is None:
            return Codec()
        try:
            from cryptography.fernet import Fernet
        except ImportError:
            raise ConfigurationError("encrypt needs the package cryptography") from None
        try:
            return Codec(Fernet(self.encrypt))
        except (ValueError, TypeError):
            pass
        raise ConfigurationError("encrypt must be a Fernet key: 32 bytes, url-safe base64")

    def make_log(self, codec: Codec, process: str) -> SharedLog:
        """Return the shared log: for the library itself."""
        from ._sharing.redis_log import RedisLog

        client = self._client()
        return RedisLog(
            client,
            is_own=client is not self.redis,
            prefix=self.prefix,
            lease=self.lease,
            codec=codec,
            process=process,
        )

    def _client(self) -> redis.Redis:
        try:
            import redis
        except ImportError:
            raise ConfigurationError(
                "RedisSharing needs redis-py: install trigger-realtime-sync[redis]"
            ) from None
        given = self.redis
        if isinstance(given, str):
            try:
                return redis.Redis.from_url(
                    given, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
                )
            except (ValueError, TypeError):
                pass
            # Out here, where it gets no context: that would quote the URL, and its password.
            raise ConfigurationError("redis is not the URL of a Redis: redis://host:6379/0, say")
        if not isinstance(given, redis.Redis):
            raise ConfigurationError(
                f"redis must be a URL or a redis.Redis, not {type(given).__name__}"
                " (Redis Cluster and asyncio are not supported)"
            )
        return _with_bytes(given)


def _with_bytes(client: Any) -> Any:
    """Return a client of the same Redis whose answers are bytes."""
    import redis

    pool = client.connection_pool
    options = pool.connection_kwargs
    if not options.get("decode_responses"):
        return client
    if type(pool) not in (redis.ConnectionPool, redis.BlockingConnectionPool):
        raise ConfigurationError("redis must be a client without decode_responses=True")
    plain = redis.ConnectionPool(
        connection_class=pool.connection_class, **{**options, "decode_responses": False}
    )
    return redis.Redis(connection_pool=plain)


class Sharing:
    """What a client shares: `client.sharing`. Safe from any thread."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    @property
    def led(self) -> tuple[SharedTarget, ...]:
        """What this process reads for the fleet, itself included."""
        return self._fleet.led

    @property
    def followed(self) -> tuple[SharedTarget, ...]:
        """What this process follows, whoever reads it."""
        return self._fleet.followed

    @property
    def outage(self) -> str | None:
        """What is wrong with the store that is shared; None while it answers."""
        return self._fleet.away

    def lead_for_others(self) -> None:
        """Read whatever the fleet follows with this client's audience, until the client is closed.

        What `trigger-realtime gateway` does. The client itself must follow nothing.

        Raises:
            ConfigurationError: the client has no token of its own.
            RuntimeError: it follows something itself.
        """
        self._fleet.lead_for_others()

    def __repr__(self) -> str:
        return f"<Sharing led={len(self.led)} followed={len(self.followed)}>"
