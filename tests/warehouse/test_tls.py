"""``sslmode=verify-full``: the server that is meant is accepted, and any other is refused in a sentence.

PgBouncer ends the TLS, as the embedded server is built without it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.revision import require_migrated
from tests.pgbouncer import bouncers

REFUSED = (
    "did not prove, as sslmode asks, that it is the one that is meant.*Compare host, sslmode and sslrootcert"
)


def certificate(folder: Path, name: str, host: str) -> tuple[Path, Path]:
    """Make a certificate that signs itself for a host; return its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    of_certificate, of_key = folder / f"{name}.pem", folder / f"{name}.key"
    of_certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    of_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return of_certificate, of_key


@pytest.fixture
def files() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="enerflo-tls-") as folder:
        # PgBouncer runs as another user where root runs the tests.
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def reached(warehouse_url: str, files: Path) -> Iterator[Callable[..., sa.Engine]]:
    """Engines on a server with a certificate for ``localhost``, by the options of their address."""
    mine, key = certificate(files, "mine", "localhost")
    certificate(files, "other", "localhost")
    engines: list[sa.Engine] = []

    def engine_of(url: str, host: str, **options: str) -> sa.Engine:
        place = sa.make_url(url).set(host=host).update_query_dict(options)
        engines.append(warehouse_engine(place.render_as_string(hide_password=False)))
        return engines[-1]

    with bouncers() as start:
        tls = (
            "client_tls_sslmode = require",
            f"client_tls_cert_file = {mine}",
            f"client_tls_key_file = {key}",
        )
        yield partial(engine_of, start(warehouse_url, "session", *tls))
        for engine in engines:
            engine.dispose()


def test_the_server_that_is_meant_is_accepted(reached: Callable[..., sa.Engine], files: Path) -> None:
    engine = reached("localhost", sslmode="verify-full", sslrootcert=str(files / "mine.pem"))
    require_migrated(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.pgconn.ssl_in_use


@pytest.mark.parametrize(
    ("host", "root"),
    [("127.0.0.1", "mine.pem"), ("localhost", "other.pem"), ("localhost", "missing.pem")],
    ids=["another name", "another authority", "no file"],
)
def test_any_other_server_is_refused(
    reached: Callable[..., sa.Engine], files: Path, host: str, root: str
) -> None:
    engine = reached(host, sslmode="verify-full", sslrootcert=str(files / root))
    with pytest.raises(ConfigurationError, match=REFUSED):
        require_migrated(engine)


def test_a_server_without_tls_is_refused(warehouse_url: str, files: Path) -> None:
    root, _ = certificate(files, "mine", "localhost")
    with bouncers() as start:
        url = sa.make_url(start(warehouse_url, "session")).set(host="localhost")
        url = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(root)})
        engine = warehouse_engine(url.render_as_string(hide_password=False))
        with pytest.raises(ConfigurationError, match="the server offers no TLS, and sslmode asks for it"):
            require_migrated(engine)
