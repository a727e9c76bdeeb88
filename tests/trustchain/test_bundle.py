"""The offline bundle: what holds is believed, and nothing that was altered."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hypermesh.trustchain.bundle import (
    Bundle,
    BundleMalformed,
    BundleRefused,
    Trust,
    check_bundle,
    read_bundle,
)
from hypermesh.trustchain.ct.checkpoint import CosignatureVerifier

from .bundles import NOW_S, VERIFIER, made


@pytest.fixture(scope="module", params=["classic", "hybrid"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made(tmp_path_factory.mktemp("bundle"), request.param)


def trusted(bundle: Bundle) -> Trust:
    """All that a careful reader names."""
    root = hashlib.sha256(bundle.chain[-1]).digest()
    return Trust(root, bundle.log.identity.fingerprint, (VERIFIER,), 1)


def test_a_bundle_holds(bundle: Bundle) -> None:
    verdict = check_bundle(read_bundle(bundle.encoded()), trusted(bundle), NOW_S)
    assert verdict.names == ("h3.example",)
    assert (verdict.index, verdict.size, verdict.is_current) == (3, 5, True)
    assert verdict.cosigned_s == {"witness.example": NOW_S + 7}
    assert verdict.is_root_trusted
    assert verdict.is_log_trusted
    assert verdict.is_hybrid == (len(bundle.certificate) > 2000)
    untold = check_bundle(bundle, Trust(), NOW_S + 400 * 24 * 3600)
    assert (untold.is_root_trusted, untold.is_log_trusted, untold.is_current) == (False,) * 3


def _altered(bundle: Bundle) -> Iterator[tuple[str, Bundle]]:
    """The bundle with one byte changed, at places over all of its parts."""

    def flipped(data: bytes, at: int) -> bytes:
        return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]

    def put(**fields: Any) -> Bundle:
        return msgspec.structs.replace(bundle, **fields)

    for at in range(0, len(bundle.certificate), len(bundle.certificate) // 40):
        yield f"certificate {at}", put(certificate=flipped(bundle.certificate, at))
    for number, each in enumerate(bundle.chain):
        for at in range(0, len(each), len(each) // 20):
            chain = list(bundle.chain)
            chain[number] = flipped(each, at)
            yield f"chain {number} {at}", put(chain=tuple(chain))
    for field in ("sct", "leaf"):
        data = getattr(bundle, field)
        for at in range(0, len(data), max(1, len(data) // 30)):
            yield f"{field} {at}", put(**{field: flipped(data, at)})
    for number, step in enumerate(bundle.path):
        path = list(bundle.path)
        path[number] = flipped(step, 5)
        yield f"path {number}", put(path=tuple(path))
    yield "path short", put(path=bundle.path[:-1])
    yield "path long", put(path=(*bundle.path, bytes(32)))
    yield "index", put(index=bundle.index + 1)
    yield "chain short", put(chain=bundle.chain[:1])
    lines = bundle.checkpoint.split("\n")
    yield "size", put(checkpoint=bundle.checkpoint.replace("\n5\n", "\n6\n", 1))
    for number, line in enumerate(lines):
        if line.startswith("\u2014"):
            without = "\n".join([*lines[:number], *lines[number + 1 :]])
            yield f"no line {number}", put(checkpoint=without)
    for field in ("ed25519", "falcon"):
        keys = msgspec.structs.replace(
            bundle.log, **{field: flipped(getattr(bundle.log, field), 7)}
        )
        yield f"log {field}", put(log=keys)
    yield "no p256", put(log=msgspec.structs.replace(bundle.log, p256=None))


def test_nothing_altered_holds(bundle: Bundle) -> None:
    trust = trusted(bundle)
    count = 0
    for what, altered in _altered(bundle):
        with pytest.raises((BundleRefused, BundleMalformed)):
            pytest.fail(f"{what}: {check_bundle(altered, trust, NOW_S)}")
        count += 1
    assert count > 100


def test_another_root_log_or_quorum_is_refused(bundle: Bundle) -> None:
    trust = trusted(bundle)
    for other in (
        Trust(bytes(32)),
        Trust(None, bytes(32)),
        Trust(None, None, (VERIFIER,), 2),
        Trust(None, None, (CosignatureVerifier("else.example", bytes(32)),), 1),
    ):
        with pytest.raises(BundleRefused):
            check_bundle(bundle, other, NOW_S)
    assert check_bundle(bundle, trust, NOW_S).index == 3


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b'{"version": 2}', b"[" * 100_000, b" " * (2 << 20)]
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(BundleMalformed):
        read_bundle(data)


def test_hm_cert_verify_asks_nobody(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_bytes(bundle.encoded())

    def hm(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hypermesh.cli.main", "cert", "verify", str(file), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )

    root = hashlib.sha256(bundle.chain[-1]).hexdigest()
    good = hm("--root", root, "--log", bundle.log.identity.fingerprint.hex(), "--output", "json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["names"] == ["h3.example"]
    assert "as the bundle says" in hm().stdout
    other = hm("--root", "00" * 32)
    assert (other.returncode, "HM-TRUST-0231" in other.stderr) == (9, True)
