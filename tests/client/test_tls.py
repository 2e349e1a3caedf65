"""The server's certificate is always verified: against the CA of the environment, as text or as a file."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.client.trainings import ContractServer, train


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that is its own CA; the key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carbonbudget-server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "tls.crt"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.with_suffix(".key").write_bytes(key.private_bytes(*private))
    return path


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[ContractServer]:
    server = ContractServer(certificate.parent, tls=(str(certificate), str(certificate.with_suffix(".key"))))
    yield server
    server.end()


FLUSH = """
    import carbonbudget as cb
    with cb.track("a"): pass
    print(cb.flush(5))
    """


@pytest.mark.parametrize("name", ["CARBONBUDGET_CA", "CARBONBUDGET_CA_FILE"])
def test_a_server_whose_ca_is_known_gets_the_spans(tls_server: ContractServer, certificate: Path, name: str) -> None:
    value = certificate.read_text() if name == "CARBONBUDGET_CA" else str(certificate)
    ended = train(FLUSH, **tls_server.variables | {name: value})
    assert (ended.output, ended.errors) == ("True\n", "")


def test_a_server_whose_ca_is_not_known_gets_no_token(tls_server: ContractServer) -> None:
    ended = train(FLUSH, **tls_server.variables)
    assert ended.output == "False\n"
    assert "certificate is not trusted" in ended.errors
    assert "set CARBONBUDGET_CA or CARBONBUDGET_CA_FILE" in ended.errors


def test_a_server_of_another_name_gets_no_token(tls_server: ContractServer, certificate: Path) -> None:
    url = tls_server.variables["CARBONBUDGET_SERVER_URL"].replace("127.0.0.1", "localhost")
    variables = {"CARBONBUDGET_CA_FILE": str(certificate), "CARBONBUDGET_SERVER_URL": url}
    ended = train(FLUSH, **tls_server.variables | variables)
    assert ended.output == "False\n"
    assert "certificate is not trusted" in ended.errors


def test_a_token_does_not_travel_in_the_clear() -> None:
    ended = train(FLUSH, CARBONBUDGET_SERVER_URL="http://carbonbudget.example", CARBONBUDGET_TOKEN_FILE="/etc/hostname")
    assert ended.output == "False\n"
    assert "https://" in ended.errors


def test_the_certificate_of_the_tests_is_one(certificate: Path) -> None:
    assert ssl.create_default_context(cafile=str(certificate)).cert_store_stats()["x509_ca"] == 1
