"""`verify=` as an `ssl.SSLContext`: what it says holds, for the API and for stored packets."""

from __future__ import annotations

import ssl

import pytest

from tests.support.shape import answer, done
from trigger_realtime_sync import ApiConnectionError, ConfigurationError, RetryPolicy

ONCE = RetryPolicy(max_retries=0)


def test_its_authorities_are_those_that_are_trusted(raw, connect, tls, bundle):
    """And no others."""
    server = raw(answer(done()), tls=tls)
    context = ssl.create_default_context(cafile=bundle)
    assert connect(server, verify=context).wait_for_completion("run_1", timeout=5).is_success
    with pytest.raises(ConfigurationError, match="not trusted"):
        connect(server, verify=ssl.create_default_context()).wait_for_completion("run_1", timeout=5)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_its_checks_are_those_that_are_made(raw, connect, tls):
    """One that checks nothing is left as it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    server = raw(answer(done()), tls=tls)
    assert connect(server, verify=context).wait_for_completion("run_1", timeout=5).is_success
    assert context.verify_mode is ssl.CERT_NONE
    assert context.check_hostname is False


def test_a_certificate_of_the_client_s_own(raw, connect, tls, authority, bundle):
    """A server that asks for one gets it."""
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(bundle)
    server = raw(answer(done()), tls=tls)
    client = connect(server, verify=bundle, retry=ONCE)
    with pytest.raises(ApiConnectionError):
        client.wait_for_completion("run_1", timeout=5)
    context = ssl.create_default_context(cafile=bundle)
    authority.issue_cert("client.example").configure_cert(context)
    assert connect(server, verify=context).wait_for_completion("run_1", timeout=5).is_success


def test_through_a_proxy(raw, connect, bundle):
    """A proxy that speaks TLS is checked by it as well."""
    proxy = raw(answer(done()))
    context = ssl.create_default_context(cafile=bundle)
    client = connect("http://api.example", verify=context, proxies={"http": proxy.url})
    assert client.wait_for_completion("run_1", timeout=5).is_success
