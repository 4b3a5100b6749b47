"""One TLS context for all connections of a client."""

from __future__ import annotations

import os
import ssl
import threading

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.ssl_ import create_urllib3_context

from .._checks import SHORTAGES
from ..errors import ConfigurationError


class SharedContext:
    """Makes the context when it is first needed.

    requests and urllib3 would load every authority's certificate for each connection: 20 ms and a
    megabyte each time.

    Args:
        verify: the public option: False, True, the path of a file or folder of certificates, or
            the context itself.
    """

    def __init__(self, verify: bool | str | ssl.SSLContext) -> None:
        self._lock = threading.Lock()
        self._context = verify if isinstance(verify, ssl.SSLContext) else None
        self._verify = True if isinstance(verify, ssl.SSLContext) else verify

    def get(self) -> ssl.SSLContext:
        """Return the context. Safe from any thread.

        Raises:
            ConfigurationError: the certificates cannot be read.
            OSError: they cannot be read now, because the process or the system lacks something.
        """
        with self._lock:
            if self._context is None:
                try:
                    self._context = _make_context(self._verify)
                except OSError as error:
                    if error.errno in SHORTAGES:
                        raise
                    raise ConfigurationError(
                        f"verify: the certificates can't be read: {type(error).__name__}: {error}"
                    ) from None
            return self._context


def _make_context(verify: bool | str) -> ssl.SSLContext:
    context = create_urllib3_context()
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_mode = ssl.CERT_REQUIRED
    path = verify if isinstance(verify, str) else _ca_bundle()
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


def _ca_bundle() -> str:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return os.environ[name]
    return str(DEFAULT_CA_BUNDLE_PATH)
