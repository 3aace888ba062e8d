"""Hosts that are not there, do not answer, or are not who they say."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient, RetryPolicy, Timeout
from enerflo_sync.enerflo.failures import OutcomeUnknownError
from enerflo_sync.errors import ConfigurationError, RetriableError

from .conftest import KEY, JumpingClock, Reply, ScriptedServer

PATH = "/api/v3/installs"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_host_without_an_address_is_tried_three_times_and_named(
    new_client: Callable[..., EnerfloClient], clock: JumpingClock
) -> None:
    client = new_client("https://no-such-host.invalid")
    with pytest.raises(RetriableError, match=r"no-such-host\.invalid has no address.*3 times") as raised:
        client.get(PATH)
    assert "base URL" in raised.value.next_step
    assert len(clock.slept) == 2


def test_a_port_that_refuses_is_retriable_and_named(new_client: Callable[..., EnerfloClient]) -> None:
    port = closed_port()
    with pytest.raises(RetriableError, match=f"127.0.0.1:{port} refused the connection"):
        new_client(f"http://127.0.0.1:{port}").get(PATH)


def test_a_write_that_never_connected_is_tried_again_and_is_not_in_doubt(
    new_client: Callable[..., EnerfloClient], clock: JumpingClock
) -> None:
    with pytest.raises(RetriableError, match="3 times") as raised:
        new_client(f"http://127.0.0.1:{closed_port()}").send("PUT", PATH, {})
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert len(clock.slept) == 2


def test_a_host_that_never_answers_is_given_up(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    server.handler = lambda asked: Reply(hang=True)
    client = new_client(server.url, timeout=Timeout(1, 0.1, 1), retry=RetryPolicy(attempts=2))
    with pytest.raises(RetriableError, match="did not answer") as raised:
        client.get(PATH)
    assert len(server.asked) == 2
    assert "base URL" in raised.value.next_step


def test_a_write_without_an_answer_is_in_doubt(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    server.handler = lambda asked: Reply(hang=True)
    with pytest.raises(OutcomeUnknownError):
        new_client(server.url, timeout=Timeout(1, 0.1, 1)).send("PUT", PATH, {})
    assert len(server.asked) == 1


def test_a_host_that_accepts_no_connection_is_given_up(new_client: Callable[..., EnerfloClient]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        client = new_client(f"http://127.0.0.1:{address[1]}", timeout=Timeout(0.1, 0.1, 1))
        with pytest.raises(RetriableError, match="did not accept a connection"):
            client.get(PATH)
        for each in waiting:
            each.close()


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS side with a certificate that nobody signed."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    both = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    )
    (tmp_path / "server.pem").write_bytes(both)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


@pytest.fixture
def tls_server(self_signed: ssl.SSLContext) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(self_signed)
    yield scripted
    scripted.close()


def test_a_certificate_that_nobody_signed_is_a_configuration_error_and_gets_no_key(
    new_client: Callable[..., EnerfloClient], tls_server: ScriptedServer, clock: JumpingClock
) -> None:
    with pytest.raises(ConfigurationError, match=r"TLS certificate of 127\.0\.0\.1") as raised:
        new_client(tls_server.url).get(PATH)
    assert raised.value.next_step
    assert (tls_server.asked, clock.slept) == ([], [])


def test_a_port_that_speaks_no_tls_is_a_configuration_error(
    new_client: Callable[..., EnerfloClient],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        import threading

        def answer_plainly() -> None:
            connection, _ = listening.accept()
            connection.recv(1)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            connection.recv(4096)
            connection.close()

        threading.Thread(target=answer_plainly, daemon=True).start()
        with pytest.raises(ConfigurationError, match="does not speak TLS"):
            new_client(f"https://127.0.0.1:{listening.getsockname()[1]}").get(PATH)


def test_a_ca_bundle_that_does_not_exist_is_a_configuration_error(
    new_client: Callable[..., EnerfloClient], tls_server: ScriptedServer
) -> None:
    client = new_client(tls_server.url)
    client._session.verify = "/nowhere/ca.pem"
    with pytest.raises(ConfigurationError, match="CA bundle"):
        client.get(PATH)


def test_a_proxy_that_is_away_is_named_as_the_proxy(new_client: Callable[..., EnerfloClient]) -> None:
    client = new_client("https://enerflo.invalid")
    client._session.proxies = {"https": f"http://127.0.0.1:{closed_port()}"}
    with pytest.raises(RetriableError, match=r"the proxy on the way to enerflo\.invalid"):
        client.get(PATH)


@pytest.mark.parametrize("reply", [Reply(reset=True), Reply(body=b"", cut=200)], ids=["reset", "closed"])
def test_a_write_that_a_proxy_drops_after_it_was_sent_is_in_doubt_and_not_sent_again(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, reply: Reply
) -> None:
    server.handler = lambda asked: reply
    client = new_client("http://127.0.0.1:1")
    client._session.proxies = {"http": server.url}
    with pytest.raises(OutcomeUnknownError):
        client.send("POST", PATH, {})
    assert len(server.asked) == 1


def test_a_write_that_a_proxy_does_not_let_through_is_not_in_doubt(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    server.handler = lambda asked: Reply(407)
    client = new_client("https://enerflo.invalid")
    client._session.proxies = {"https": server.url}
    with pytest.raises(RetriableError, match="the proxy on the way") as raised:
        client.send("POST", PATH, {})
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert {asked.method for asked in server.asked} == {"CONNECT"}


def test_the_environments_proxy_is_used_and_what_it_excepts_is_not(
    server: ScriptedServer, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)

    def installs_of(base: str) -> bytes:
        with requests.Session() as session:
            rng = random.Random(1)
            one = EnerfloClient(session, base, KEY, budget=UnlimitedBudget(), clock=clock, rng=rng)
            # Read once, so that what another library does to it meanwhile changes nothing.
            monkeypatch.delenv("HTTP_PROXY")
            return one.get(PATH)

    server.handler = lambda asked: Reply()
    monkeypatch.setenv("HTTP_PROXY", server.url)
    installs_of("http://api.localhost:1")
    assert [asked.headers["host"] for asked in server.asked] == ["api.localhost:1"]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    installs_of(server.url)
    assert len(server.asked) == 2


def test_the_environments_certificates_are_used(
    server: ScriptedServer, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    with requests.Session() as session:
        rng = random.Random(1)
        EnerfloClient(session, "https://127.0.0.1:1", KEY, budget=UnlimitedBudget(), clock=clock, rng=rng)
        assert session.verify == "/no/such/bundle.pem"
