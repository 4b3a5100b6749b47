"""Large packets: presigned URLs for uploads and downloads (docs/protocol.md, section R3)."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from ._access import Caller
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply, not_found
from ._settings import RoundTrip
from ._store import Store

# Presigned URLs that stay valid before the oldest is dropped: bounds the memory of a long test.
_KEPT_URLS = 10_000
_NO_STORE = {
    "error": "Failed to generate presigned URL: "
    "Object store is not configured for protocol: default"
}


class PacketRoutes:
    """Gives out presigned URLs, and plays the object store behind them."""

    def __init__(self, store: Store, base_url: Callable[[], str], settings: RoundTrip) -> None:
        self._store = store
        self._base_url = base_url
        self._settings = settings
        # Protects the method and the path of a packet by the key in its URL, the oldest first.
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "GET", "api", "v1", "runs", run_id, "packets", ("payload" | "output") as name:
                return self._packet_of_run(run_id, name, caller)
            case "GET", "api", "v1", "packets", path:
                return json_reply(200, {"presignedUrl": self.sign("GET", path)})
            case "PUT", "api", "v2", "packets", path if self._settings.uploads:
                return self._upload(path, caller)
        return None

    def presigned(self, request: RecordedRequest) -> Reply:
        """Answer as the object store; a request with our token is refused, as stores do."""
        if "authorization" in request.headers:
            return _xml_error(400, "InvalidArgument")
        with self._lock:
            method, path = self._paths.get(request.segments[-1], ("", ""))
        if request.method != method:
            return _xml_error(403, "AccessDenied")
        if method == "PUT":
            content_type = request.headers.get("content-type", "")
            self._store.packets[path] = (request.body, content_type)
            return Reply(200, {}, b"")
        if path not in self._store.packets:
            return _xml_error(403, "AccessDenied")
        data, content_type = self._store.packets[path]
        return Reply(200, {"content-type": content_type} if content_type else {}, data)

    def sign(self, method: str, path: str) -> str:
        """Return a URL. The path is not looked up: a URL for nothing fails when it is used."""
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._paths[key] = (method, path)
            if len(self._paths) > _KEPT_URLS:
                self._paths.popitem(last=False)
        return f"{self._base_url()}/presigned/{key}"

    def _upload(self, path: str, caller: Caller) -> Reply:
        caller.need_secret()
        if not self._settings.object_store:
            raise Refused(500, _NO_STORE)
        answer = {"presignedUrl": self.sign("PUT", path), "storagePath": path}
        return json_reply(200, answer)

    def _packet_of_run(self, run_id: str, name: str, caller: Caller) -> Reply:
        state = self._store.get(run_id)
        if state is None or state.row.get(f"{name}Type") != "application/store":
            raise not_found(retry=False)
        caller.need("read", *state.resources())
        return json_reply(200, {"presignedUrl": self.sign("GET", state.row.get(name) or "")})


def _xml_error(status: int, code: str) -> Reply:
    return Reply(status, {"content-type": "application/xml"}, f"<Error>{code}</Error>".encode())
