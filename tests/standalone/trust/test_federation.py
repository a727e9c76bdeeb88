"""Name constraints of an issuing CA, and partners that another root certifies for their names
alone, as OpenSSL judges them."""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hypermesh.standalone.trust.errors import SettingsInvalid
from hypermesh.standalone.trust.founding import Directory, found
from hypermesh.standalone.trust.parts import Parts, now_s
from hypermesh.standalone.trust.settings import parse_settings
from hypermesh.trustchain.ca.issuing import Order
from hypermesh.trustchain.ca.names import NameForbidden
from hypermesh.trustchain.ca.profile import Kind

from .conftest import WAIT_S, said, trustchain

SETTINGS = """
name = "{name}"
hosts = ["ca.{name}.internal"]
permitted = ["dns:.internal", "ip:2001:db8::/32"]
constraints = {constraints}
https = "[::1]:0"
public_url = "http://ca.{name}.internal"
[dns]
listen = ""
"""


def firm(directory: Path, name: str, constraints: str = "[]") -> Directory:
    """The ceremony of a company with a root of its own; nothing serves."""
    text = SETTINGS.format(name=name, constraints=constraints)
    made = Directory(directory / name)
    found(made, parse_settings(text, "a test"), made.root, None, now_s())
    return made


@contextlib.contextmanager
def opened(directory: Directory) -> Iterator[Parts]:
    parts = Parts(directory, parse_settings(directory.settings.read_text(), "kept"))
    try:
        yield parts
    finally:
        parts.close()


def issued(parts: Parts, name: str) -> Path:
    """A file with a certificate for `name` and its issuer's."""
    general: x509.GeneralName = x509.DNSName(name)
    if ":" in name:
        general = x509.IPAddress(ipaddress.ip_address(name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([general]), critical=False)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    (token,) = parts.tokens.listed()
    order = Order(signed.public_bytes(Encoding.DER), Kind.SERVICE, f"token:{token.id}")
    chain = [
        x509.load_der_x509_certificate(each)
        for each in parts.authority.issue(order, now_s()).chain[:-1]
    ]
    file = parts.directory.path / "leaf.pem"
    file.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    return file


def verdict(leaf: Path, root: Path, *more: str) -> str:
    """What OpenSSL says of the first certificate in `leaf`."""
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", str(root), *more, str(leaf)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.stdout + done.stderr


def root_of(directory: Directory) -> Path:
    return directory.root / "root.pem"


def test_an_issuing_authority_is_bound_by_its_certificate(tmp_path: Path) -> None:
    made = firm(tmp_path, "bound", '["dns:bound.internal"]')
    extension = made.issuing_certificate().extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    with opened(made) as parts:
        leaf = issued(parts, "www.bound.internal")
        assert verdict(leaf, root_of(made), "-untrusted", str(leaf)).endswith(": OK\n")
        outside = ("www.elsewhere.internal", "notbound.internal", "2001:db8::1")
        for name in outside:
            with pytest.raises(NameForbidden, match="issuer may certify"):
                issued(parts, name)
        # Whatever it may sign, readers hold it to its certificate.
        object.__setattr__(parts.authority.issuer, "constraints", None)
        for name in outside:
            leaf = issued(parts, name)
            assert "subtree violation" in verdict(leaf, root_of(made), "-untrusted", str(leaf))


def test_constraints_survive_the_replacement_of_the_issuer(tmp_path: Path) -> None:
    made = firm(tmp_path, "bound", '["dns:bound.internal"]')
    before = made.issuing_certificate()
    done = trustchain("root", "replace-issuer", data=made.path)
    assert done.returncode == 0, done.stderr
    after = made.issuing_certificate()
    assert after.serial_number != before.serial_number
    found, kept = (
        each.extensions.get_extension_for_class(x509.NameConstraints).value
        for each in (before, after)
    )
    assert found == kept


@pytest.mark.parametrize(
    "constraints",
    ['["dns:elsewhere.internal"]', '["ip:2001:db8::/32"]', '["dns:"]', '["ip:x"]', '["x"]'],
)
def test_constraints_that_fit_nothing_are_refused(constraints: str) -> None:
    with pytest.raises(SettingsInvalid, match="constraints"):
        parse_settings(SETTINGS.format(name="bound", constraints=constraints), "a test")


def test_a_partner_is_believed_for_its_names_until_it_is_dropped(tmp_path: Path) -> None:
    ours, theirs = firm(tmp_path, "ours"), firm(tmp_path, "theirs")
    introduced = trustchain("introduce", data=theirs.path)
    assert introduced.returncode == 0, introduced.stderr
    request = tmp_path / "theirs.csr"
    request.write_text(introduced.stdout)

    nobody = trustchain("root", "federate", str(request), data=ours.path)
    assert nobody.returncode == 2, "a partner is not believed for all names"
    permit = ("--permit", "dns:shop.internal")
    done = trustchain("root", "federate", str(request), *permit, data=ours.path)
    assert done.returncode == 0, done.stderr
    cross = said(done.stdout)
    again = trustchain("root", "federate", str(request), *permit, data=ours.path)
    assert said(again.stdout) == cross, "asked again, it is the same certificate"

    with opened(theirs) as parts:
        leaf = issued(parts, "www.shop.internal")
        assert verdict(leaf, root_of(ours), "-untrusted", cross["file"]).endswith(": OK\n")
        assert "unable to get" in verdict(leaf, root_of(ours), "-untrusted", str(leaf))
        for name in ("www.theirs.internal", "2001:db8::1"):
            outside = issued(parts, name)
            said_of = verdict(outside, root_of(ours), "-untrusted", cross["file"])
            assert "subtree violation" in said_of
            assert verdict(outside, root_of(theirs), "-untrusted", str(outside)).endswith(": OK\n")
        leaf = issued(parts, "www.shop.internal")

    listed = trustchain("root", "partners", data=ours.path).stdout
    assert listed.split()[0] == cross["serial"]
    assert "shop.internal" in listed
    assert "dropped" not in listed
    dropped = trustchain("root", "drop", cross["serial"], data=ours.path)
    assert dropped.returncode == 0, dropped.stderr
    assert "dropped" in trustchain("root", "partners", data=ours.path).stdout
    listing = tmp_path / "root.crl.pem"
    served = x509.load_der_x509_crl((ours.ca / "root.crl").read_bytes())
    listing.write_bytes(served.public_bytes(Encoding.PEM))
    # The partner's leaf is on the partner's list; of ours is the certificate above it.
    above = Path(cross["file"])
    assert "certificate revoked" in verdict(
        above, root_of(ours), "-crl_check", "-CRLfile", str(listing)
    )
    fresh = trustchain("root", "federate", str(request), *permit, data=ours.path)
    assert said(fresh.stdout)["serial"] != cross["serial"], "a dropped one is not given again"
    wider = trustchain(
        *("root", "federate", str(request), *permit, "--permit", "dns:more.internal"),
        data=ours.path,
    )
    assert "more.internal" in trustchain("root", "partners", data=ours.path).stdout
    assert len({cross["serial"], said(fresh.stdout)["serial"], said(wider.stdout)["serial"]}) == 3


def test_who_is_no_partner_is_not_dropped(tmp_path: Path) -> None:
    ours = firm(tmp_path, "ours")
    issuing = ours.issuing_certificate().serial_number
    done = trustchain("root", "drop", f"{issuing:x}", data=ours.path)
    assert (done.returncode, "no partner" in done.stderr) == (2, True)
    nothing = tmp_path / "nothing"
    nothing.write_text("nothing")
    for file in (nothing, tmp_path / "missing"):
        refused = trustchain(
            *("root", "federate", str(file), "--permit", "dns:a.internal"), data=ours.path
        )
        assert refused.returncode in (2, 9), refused.stderr
        assert "Traceback" not in refused.stderr
