"""Two servers: one is a witness of the other's logs, and its cosignature stands in bundles."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hypermesh.trustchain.bundle import BundleRefused, Trust, check_bundle, read_bundle
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier, read_witness_key
from hypermesh.trustchain.ct.errors import EntryInvalid
from hypermesh.trustchain.ct.note import Note, read_lines, read_note

from .conftest import WAIT_S, Server, eventually, founded, requested, trustchain
from .test_rereading import SAID, STAY, hung_up, rewritten

NAME = "witness.example.internal"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "log")
    yield made
    made.kill()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "witness")
    file = made.data / "trustchain.toml"
    text = file.read_text()
    assert '[cosigning]\nname = ""' in text
    file.write_text(text.replace('[cosigning]\nname = ""', f'[cosigning]\nname = "{NAME}"'))
    yield made
    made.kill()


def test_a_bundle_carries_the_cosignature_of_a_witness(
    server: Server, witness: Server, tmp_path: Path
) -> None:
    server.start()
    witness.start()
    with server.client() as client:
        logs = tmp_path / "logs.json"
        logs.write_bytes(client.get("/v1/logs").content)
        key = httpx.get(f"{witness.http}/v1/witness", timeout=WAIT_S).json()["key"]
        verifier = read_witness_key(key)
        assert verifier.name == NAME
        assert STAY in rewritten(witness, ("logs = []", f'logs = ["{tmp_path}/nowhere.json"]'))
        assert SAID in rewritten(witness, (f"{tmp_path}/nowhere.json", str(logs)))
        told = client.post("/v1/certificates", content=requested("w.example.internal").der).json()
        without = client.get(f"/v1/certificates/{told['serial']}/bundle").content
        trust = Trust(witnesses=(verifier,), quorum=1)
        with pytest.raises(BundleRefused):
            check_bundle(read_bundle(without), trust, told["issued_s"])

        file = server.data / "trustchain.toml"
        asked = f'[[witness]]\nurl = "{witness.http}"\nkey = "{key}"\n'
        file.write_text(f"{file.read_text()}\n{asked}")
        assert SAID in hung_up(server)
        told = client.post("/v1/certificates", content=requested("v.example.internal").der).json()
        bundle = client.get(f"/v1/certificates/{told['serial']}/bundle").content
        verdict = check_bundle(read_bundle(bundle), trust, told["issued_s"])
        assert list(verdict.cosigned_s) == [NAME]

        # Without anybody asking for a bundle, both logs are cosigned as well.
        def is_cosigned(path: str) -> bool:
            return read_note(client.get(path).content).signed_by(verifier) is not None

        eventually(lambda: is_cosigned("/checkpoint"), "the log of certificates is cosigned")
        eventually(lambda: is_cosigned("/acts/checkpoint"), "the log of acts is cosigned")

        figures = figures_of(client)
        assert figures["given", "certificates"] >= 1
        assert figures["refused", "certificates"] == 0
        index = client.get(f"/v1/certificates/{told['serial']}").json()["log_index"]
        assert figures["any", "certificates"] > index
        assert figures["all", "certificates"] > index

        # A witness that is gone keeps no bundle from anybody.
        witness.kill()
        told = client.post("/v1/certificates", content=requested("u.example.internal").der).json()
        alone = client.get(f"/v1/certificates/{told['serial']}/bundle")
        assert alone.status_code == 200
        check_bundle(read_bundle(alone.content), Trust(), told["issued_s"])
        late = figures_of(client)
        assert late["late", "certificates"] >= figures["late", "certificates"] + 1
        assert late["asked", "certificates"] > figures["asked", "certificates"]
        assert late["all", "certificates"] <= told["log_index"], "nobody cosigned this one"
        # When it is back, it is asked again.
        witness.start()
        moved = f'url = "{witness.http}"'
        text = file.read_text()
        start = text.rindex("url = ")
        file.write_text(text[:start] + moved + text[text.index("\n", start) :])
        assert SAID in hung_up(server)
        again = b""

        def is_vouched_for() -> bool:
            nonlocal again
            again = client.get(f"/v1/certificates/{told['serial']}/bundle").content
            note = read_note(read_bundle(again).checkpoint.encode())
            return note.signed_by(verifier) is not None

        eventually(is_vouched_for, "the witness that is back cosigns")
        check_bundle(read_bundle(again), trust, told["issued_s"])

    saved = tmp_path / "bundle.json"
    saved.write_bytes(again)
    done = hm_verify(saved, key)
    assert f"cosigned by {NAME}" in done.stdout, done.stderr
    saved.write_bytes(without)
    assert hm_verify(saved, key).returncode == 9

    backup = tmp_path / "saved"
    assert trustchain("backup", str(backup), data=witness.data).returncode == 0
    assert not list(backup.rglob("witness*")), "a witness that goes back is none"


def figures_of(client: httpx.Client) -> dict[tuple[str, str], float]:
    """The figures of cosigning, by what they count and the log."""
    text = client.get("/metrics").text
    counted = re.findall(r'_cosignatures_(\w+)_total\{log="(\w+)"\} (\S+)', text)
    sized = re.findall(r'_cosigned_entries\{by="(\w+)",log="(\w+)"\} (\S+)', text)
    return {(what, log): float(value) for what, log, value in [*counted, *sized]}


def hm_verify(bundle: Path, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "hypermesh.cli.main", "cert", "verify"),
            *(str(bundle), "--witness", key),
        ],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_the_witness_speaks_its_protocol(server: Server, witness: Server, tmp_path: Path) -> None:
    """C2SP tlog-witness: the codes of its refusals, and the size where it stands."""
    server.start()
    logs = tmp_path / "logs.json"
    logs.write_bytes(httpx.get(f"{server.http}/v1/logs", timeout=WAIT_S).content)
    file = witness.data / "trustchain.toml"
    file.write_text(file.read_text().replace("logs = []", f'logs = ["{logs}"]'))
    witness.start()
    note = httpx.get(f"{server.http}/checkpoint", timeout=WAIT_S).content
    size = int(note.split(b"\n")[1])
    url = f"{witness.http}/add-checkpoint"

    def post(content: bytes) -> httpx.Response:
        return httpx.post(url, content=content, timeout=WAIT_S)

    taken = post(b"old 0\n\n" + note)
    assert taken.status_code == 200
    verifier = read_witness_key(
        httpx.get(f"{witness.http}/v1/witness", timeout=WAIT_S).json()["key"]
    )
    signed = Note(read_note(note).text, read_lines(taken.text))
    assert signed.signed_by(verifier) is not None
    conflict = post(b"old 0\n\n" + note)
    assert (conflict.status_code, conflict.text) == (409, f"{size}\n")
    assert conflict.headers["content-type"].startswith("text/x.tlog.size")
    assert post(f"old {size}\n\n".encode() + note).status_code == 200
    assert post(b"old 0\n\n" + note.replace(b"localhost", b"elsewhere")).status_code == 404
    broken = note.replace(b"\n%d\n" % size, b"\n%d\n" % (size + 1))
    assert post(f"old {size}\n\n".encode() + broken).status_code == 403
    assert post(b"noise").status_code == 400
    assert post(b"x" * (1 << 20)).status_code == 413
    assert (
        httpx.post(f"{server.http}/add-checkpoint", content=b"", timeout=WAIT_S).status_code == 404
    )


def test_a_verifier_key_is_of_its_name() -> None:
    key = CosignatureVerifier("witness.example.org", bytes(32)).vkey
    assert read_witness_key(key).vkey == key
    for wrong in (key.replace("witness", "mitness"), key[:-4], "x", "a+b+c", f"{key}A"):
        with pytest.raises(EntryInvalid):
            read_witness_key(wrong)
