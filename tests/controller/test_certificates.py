"""Certificates: made, trusted by a real TLS handshake, renewed in time, rotated without a gap."""

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest

from carbonbudget_operator.controller.certificates import (
    CertificatePair,
    ca_usable,
    leaf_usable,
    make_ca,
    make_leaf,
    still_valid,
)

NOW = dt.datetime.now(dt.UTC)
NAMES = ["carbonbudget-server.system.svc", "carbonbudget-server"]


def handshake(leaf: CertificatePair, bundle: str, name: str, tmp_path: Path) -> None:
    """A real TLS connection over a socket pair; raises what the client sees."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert.write_text(leaf.certificate)
    key.write_text(leaf.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cadata=bundle)
        client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
        client.wrap_socket(ours, server_hostname=name).close()
    finally:
        ours.close()
        thread.join(10)


@pytest.mark.parametrize("name", NAMES)
def test_a_leaf_is_trusted_for_each_of_its_names(name: str, tmp_path: Path) -> None:
    ca = make_ca(NOW)
    handshake(make_leaf(ca, NAMES, NOW), ca.certificate, name, tmp_path)


def test_it_is_not_trusted_for_another_name_or_by_another_ca(tmp_path: Path) -> None:
    ca = make_ca(NOW)
    leaf = make_leaf(ca, NAMES, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(leaf, ca.certificate, "evil.system.svc", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(leaf, make_ca(NOW).certificate, NAMES[0], tmp_path)


def test_a_leaf_of_the_former_ca_is_still_trusted_with_the_bundle(tmp_path: Path) -> None:
    former, ca = make_ca(NOW - dt.timedelta(days=3000)), make_ca(NOW)
    handshake(make_leaf(former, NAMES, NOW), ca.certificate + former.certificate, NAMES[0], tmp_path)


def test_a_leaf_is_renewed_when_a_third_of_its_life_is_left() -> None:
    ca = make_ca(NOW)
    leaf = make_leaf(ca, NAMES, NOW)
    assert leaf_usable(leaf, [ca.certificate], NAMES, NOW + dt.timedelta(days=59))
    assert not leaf_usable(leaf, [ca.certificate], NAMES, NOW + dt.timedelta(days=61))


def test_a_leaf_for_other_names_of_another_ca_or_broken_is_made_anew() -> None:
    ca = make_ca(NOW)
    leaf = make_leaf(ca, NAMES, NOW)
    assert not leaf_usable(leaf, [ca.certificate], ["other"], NOW)
    assert not leaf_usable(leaf, [make_ca(NOW).certificate], NAMES, NOW)
    assert not leaf_usable(CertificatePair(leaf.certificate, ca.key), [ca.certificate], NAMES, NOW)
    assert not leaf_usable(CertificatePair("junk", "junk"), [ca.certificate], NAMES, NOW)
    assert not leaf_usable(None, [ca.certificate], NAMES, NOW)


def test_a_ca_is_replaced_in_time_and_stays_in_the_bundle_until_it_expires() -> None:
    ca = make_ca(NOW)
    assert ca_usable(ca, NOW + dt.timedelta(days=2400))
    assert not ca_usable(ca, NOW + dt.timedelta(days=2500))
    assert still_valid(ca.certificate, NOW + dt.timedelta(days=3649))
    assert not still_valid(ca.certificate, NOW + dt.timedelta(days=3651))
    assert not ca_usable(None, NOW)
    assert not ca_usable(CertificatePair("junk", "junk"), NOW)
