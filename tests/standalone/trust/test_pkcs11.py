"""The issuing key in a PKCS#11 token by settings: SoftHSM makes it, and it is nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from hypermesh.crypto.keystore import KeyStore

from .conftest import SETTINGS, Server, requested, said, trustchain
from .test_rereading import SAID, hung_up
from .test_server import PEM, openssl

LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
LIBRARY = next((each for each in LIBRARIES if Path(each).exists()), None)
PIN = "31415926"

pytestmark = pytest.mark.skipif(
    LIBRARY is None or shutil.which("softhsm2-util") is None, reason="SoftHSM is not installed"
)


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the PIN of a fresh token, which every process of the test finds."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    command = f"softhsm2-util --init-token --free --label hm --pin {PIN} --so-pin 12345678"
    subprocess.run(command.split(), check=True, capture_output=True)
    file = tmp_path / "pin"
    file.write_text(f"{PIN}\n")
    file.chmod(0o600)
    return file


def settings(directory: Path, profile: str, pin: str) -> Path:
    file = directory / "trustchain.toml"
    text = SETTINGS.format(profile=profile, upstream="[]")
    file.write_text(f'{text}[pkcs11]\nmodule = "{LIBRARY}"\ntoken = "hm"\n{pin}\n')
    return file


def keys(pin: Path) -> int:
    """How many objects the token holds: a key pair is two."""
    return len(list((pin.parent / "tokens").rglob("*.object"))) - 1


def issued(server: Server, directory: Path) -> list[x509.Certificate]:
    """A certificate and its issuer, which openssl believes."""
    with server.client() as client:
        asked = requested("t.example.internal").pem
        answer = client.post("/v1/certificates", content=asked, headers=PEM)
    assert answer.status_code == 201, answer.text
    chain = directory / "chain.pem"
    chain.write_bytes(answer.content)
    done = openssl("verify", "-CAfile", str(server.root_file), "-untrusted", str(chain), str(chain))
    assert done.returncode == 0, done.stderr
    return x509.load_pem_x509_certificates(answer.content)


def holds(directory: Path, text: bytes) -> bool:
    """Whether a file below `directory` holds `text`."""
    return any(text in each.read_bytes() for each in directory.rglob("*") if each.is_file())


def test_it_issues_and_the_key_is_in_the_token_alone(pin: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    file = settings(tmp_path, "classic", f'pin_file = "{pin}"')
    done = trustchain("init", "--config", str(file), data=data)
    assert done.returncode == 0, done.stderr
    made = keys(pin)
    assert made == 2
    server = Server(data, said(done.stdout)["token"], said(done.stdout)["log"])
    server.start()
    try:
        before = issued(server, tmp_path)[1]
        assert SAID in hung_up(server)
        rotated = trustchain("root", "replace-issuer", data=data)
        assert rotated.returncode == 0, rotated.stderr
        assert SAID in hung_up(server)
        after = issued(server, tmp_path)[1]
        assert before.public_key() != after.public_key()
        assert keys(pin) == made + 2, "the new issuer's key was made in the token as well"
    finally:
        server.kill()
    assert not [each for each in KeyStore(data / "keys").names() if each.startswith("issuing")]
    assert not holds(data, PIN.encode())
    server.start()
    try:
        assert issued(server, tmp_path)[1] == after, "the same key after a start"
    finally:
        server.kill()
    for spoil, code in _spoiled(pin):
        spoil()
        refused = trustchain("run", data=data)
        assert code in refused.stderr
        assert PIN not in refused.stderr


def _spoiled(pin: Path) -> list[tuple[Callable[[], object], str]]:
    """Ways in which the PIN cannot be used, each after the other, with the code of each."""
    return [
        (lambda: pin.chmod(0o640), "HM-TRUST-0242"),
        (lambda: (pin.chmod(0o600), pin.write_text("0000\n")), "HM-TRUST-0115"),
        (lambda: pin.write_text(""), "HM-TRUST-0242"),
        (pin.unlink, "HM-TRUST-0242"),
    ]


def test_a_hybrid_issuer_by_a_pin_in_the_environment(
    pin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    file = settings(tmp_path, "hybrid", 'pin_environment = "HM_TEST_PIN"')
    assert "HM_TEST_PIN" not in os.environ
    assert "HM-TRUST-0242" in trustchain("init", "--config", str(file), data=data).stderr
    monkeypatch.setenv("HM_TEST_PIN", PIN)
    # A ceremony that was cut off is held again.
    done = trustchain("init", "--config", str(file), data=data)
    assert done.returncode == 0, done.stderr
    server = Server(data, said(done.stdout)["token"], said(done.stdout)["log"])
    server.start()
    try:
        issued(server, tmp_path)
    finally:
        server.kill()
    assert not holds(data, PIN.encode())
