"""What is said of a certificate is what OpenSSL reads in it."""

from __future__ import annotations

import subprocess

from hypermesh.trustchain.description import describe, pem

from .samples import VALIDITY, Network


def test_openssl_reads_the_same(network: Network) -> None:
    said = describe(network.leaf)
    asked = ("-serial", "-subject", "-startdate", "-enddate", "-nameopt", "RFC2253")
    read = subprocess.run(
        ["openssl", "x509", "-noout", "-dateopt", "iso_8601", *asked],
        input=pem(network.leaf).encode(),
        capture_output=True,
        check=True,
    )
    facts = dict(line.split("=", 1) for line in read.stdout.decode().splitlines())
    assert facts["serial"].lower() == said.serial
    assert facts["subject"] == said.subject == f"CN={network.node.id.hex()}"
    assert (said.not_before_s, said.not_after_s) == (VALIDITY.not_before_s, VALIDITY.not_after_s)
    assert facts["notBefore"] == "2027-01-15 07:55:00Z"
