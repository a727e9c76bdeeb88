"""The ceremony in steps: the root's key is never where the server is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hypermesh.crypto.keystore import KeyStore

from .conftest import SETTINGS, WAIT_S, Server, requested, said, trustchain


def offline(*words: str) -> subprocess.CompletedProcess[str]:
    """A command on the machine of the root, which has no data directory."""
    return subprocess.run(
        [sys.executable, "-m", "hypermesh.standalone.trust", "offline", *words],
        env={name: text for name, text in os.environ.items() if name != "STATE_DIRECTORY"},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def answered(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return said(done.stdout)


@pytest.mark.parametrize("profile", ["classic", "hybrid"])
def test_a_server_begins_below_a_root_that_it_never_had(tmp_path: Path, profile: str) -> None:
    text = SETTINGS.format(profile=profile, upstream="[]")
    settings = tmp_path / "settings.toml"
    settings.write_text(text)
    phrase = tmp_path / "phrase"
    phrase.write_text("correct horse battery staple")
    root, data = tmp_path / "root", tmp_path / "data"
    at_root = ("--root", str(root), "--config", str(settings), "--passphrase", str(phrase))
    made = answered(offline(*at_root))

    request = Path(answered(trustchain("request", "--config", str(settings), data=data))["request"])
    early = trustchain("run", data=data)
    assert (early.returncode, "HM-TRUST-0201" in early.stderr) == (3, True), early.stderr
    # Only these two files go to the other machine and back.
    carried = tmp_path / "carried"
    carried.mkdir()
    shutil.copy(request, carried / "issuing.csr")
    told = answered(offline(str(carried / "issuing.csr"), *at_root))
    again = answered(offline(str(carried / "issuing.csr"), *at_root))
    assert again == told, "one key has one certificate"
    installed = answered(trustchain("install", told["chain"], told["list"], data=data))
    twice = trustchain("install", told["chain"], told["list"], data=data)
    assert "HM-TRUST-0202" in twice.stderr

    assert not (data / "root").exists()
    secret = next((root / "keys").glob("root*")).read_bytes()
    assert all(secret not in each.read_bytes() for each in data.rglob("*") if each.is_file())
    assert "root" not in KeyStore(data / "keys")
    assert (data / "ca" / "root.pem").read_bytes() == Path(made["root"]).read_bytes()

    (data / "root").mkdir()
    shutil.copy(made["root"], data / "root" / "root.pem")
    server = Server(data, installed["token"], installed["log"])
    server.start()
    try:
        with server.client() as client:
            answer = client.post("/v1/certificates", content=requested("a.example.internal").der)
            assert answer.status_code == 201, answer.text
            assert client.get("/v1/audit/check").json()["whole"]
    finally:
        server.kill()


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(profile="classic", upstream="[]"))
    made = {}
    for name in ("one", "two"):
        at_root = ("--root", str(tmp_path / f"root-{name}"), "--config", str(settings))
        answered(offline(*at_root))
        data = tmp_path / name
        asked = answered(trustchain("request", "--config", str(settings), data=data))
        made[name] = answered(offline(asked["request"], *at_root))
    one, two = made["one"], made["two"]
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise")
    for chain, listed, why in (
        (two["chain"], two["list"], "another key"),
        (one["chain"], two["list"], "another root"),
        (one["chain"], str(noise), "cannot be read"),
        (str(noise), one["list"], "HM-TRUST-0113"),
    ):
        done = trustchain("install", chain, listed, data=tmp_path / "one")
        assert (done.returncode, why in done.stderr) == (9, True), done.stderr
    assert not (tmp_path / "one" / "founded").exists()
    answered(trustchain("install", one["chain"], one["list"], data=tmp_path / "one"))
