"""`hm trust`: a root goes into a bundle and comes out, and nothing is done silently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hypermesh.standalone.trust import anchors
from hypermesh.wire.errors import InvalidInput, NotFound

from .conftest import WAIT_S, Server


def hm(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hypermesh.cli.main", "trust", *words],
        input=said,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_a_root_goes_into_a_bundle_and_out_again(server: Server, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("# others\n")
    bundle.chmod(0o640)
    words = (str(server.root_file), "--bundle", str(bundle))
    asked = hm("install", *words, said="n\n")
    assert asked.returncode != 0
    assert server.places["root"] in asked.stdout + asked.stderr, "the fingerprint is shown"
    assert bundle.read_text() == "# others\n"
    assert hm("install", *words, said="y\n").returncode == 0
    done = hm("install", *words, "--yes")
    assert done.returncode == 0, done.stderr
    assert server.places["root"] in done.stdout
    assert bundle.read_text().count("BEGIN CERTIFICATE") == 1
    assert bundle.stat().st_mode & 0o777 == 0o640
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", str(bundle), str(server.root_file)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert verified.returncode == 0, verified.stderr
    assert hm("uninstall", *words, "--yes").returncode == 0
    assert bundle.read_text() == "# others\n"
    again = hm("uninstall", *words, "--yes")
    assert again.returncode == 5


def test_only_a_root_is_taken(server: Server, tmp_path: Path) -> None:
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes((server.data / "ca" / "issuing.pem").read_bytes().split(b"\n\n")[0])
    text = issuing.read_text()
    issuing.write_text(text[: text.index("-----END CERTIFICATE-----") + 26])
    with pytest.raises(InvalidInput):
        anchors.read_root(issuing)
    with pytest.raises(NotFound):
        anchors.removed("", "00" * 32)


def test_the_systems_store_is_changed_by_its_own_program(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "log"
    place = anchors.System(tmp_path / "anchors", ("sh", "-c", f"ls {tmp_path}/anchors >> {log}"))
    root = anchors.read_root(server.root_file)
    sha256 = anchors.digest(root)
    anchors.change_system(place, root, sha256)
    assert log.read_text() == f"hypermesh-{sha256[:16]}.crt\n"
    anchors.change_system(place, None, sha256)
    assert list(place.directory.iterdir()) == []
    with pytest.raises(NotFound):
        anchors.change_system(place, None, sha256)
    broken = anchors.System(tmp_path / "anchors", ("false",))
    with pytest.raises(anchors.StoreUnwritable):
        anchors.change_system(broken, root, sha256)
