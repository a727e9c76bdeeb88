"""`hm cert`: who may take part, until when."""

from __future__ import annotations

import subprocess

from .shell import Machine


def test_certificates_are_listed(home: Machine, lender: Machine) -> None:
    here = home.json("cert", "ls")["items"]
    assert {each["name"] for each in here} == {"home", "lender"}
    assert {each["known_by"] for each in here} == {"authority"}
    there = lender.json("cert", "ls")["items"]
    assert {each["name"]: each["known_by"] for each in there} == {
        "home": "ledger",
        "lender": "self",
    }
    assert {each["sha256"] for each in there} == {each["sha256"] for each in here}
    said = home.succeeds("cert", "ls").stdout.decode()
    assert said.splitlines()[0].split()[:2] == ["SHA256", "NODE"]
    assert "current" in said
    assert len(home.json("cert", "ls", "--last", "1")["items"]) == 1
    ids = home.succeeds("cert", "ls", "--quiet").stdout.decode().split()
    assert ids == [each["sha256"] for each in here]


def test_openssl_reads_the_chain_that_is_shown(home: Machine, lender: Machine) -> None:
    del lender
    shown = home.json("cert", "show", "lender")["certificate"]
    chain = home.succeeds("cert", "show", "lender", "--pem").stdout
    assert chain.count(b"-----BEGIN CERTIFICATE-----") == 3
    read = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"],
        input=chain,
        capture_output=True,
        check=True,
    )
    printed = read.stdout.decode().strip().partition("=")[2].replace(":", "").lower()
    assert printed == shown["sha256"]


def test_a_certificate_by_each_of_its_names(home: Machine, lender: Machine) -> None:
    of_lender = home.json("cert", "show", "lender")
    sha256, node = of_lender["certificate"]["sha256"], of_lender["certificate"]["node"]
    for name in (sha256, sha256[:12], node, node[:12]):
        assert home.json("cert", "show", name) == of_lender
    assert lender.json("cert", "show")["certificate"]["sha256"] == sha256
    assert "current" in home.succeeds("cert", "show").stdout.decode()


def test_what_is_not_there_says_so(home: Machine, lender: Machine) -> None:
    assert "hm cert ls" in home.fails("cert", "show", "nobody", exit_code=5)
    assert "more than one" in home.fails("cert", "show", "", exit_code=2)
    home.fails("cert", "show", "0" * 64, exit_code=5)
    assert "founded" in lender.fails("cert", "show", "home", "--pem", exit_code=5)
    assert "digest and end alone" in lender.succeeds("cert", "show", "home").stdout.decode()
