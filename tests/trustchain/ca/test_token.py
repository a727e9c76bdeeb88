"""A signer in a PKCS#11 token: SoftHSM makes the key, signs with it, and never gives it away.

The library reads its configuration once for a process, so a process of its own has the token.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
LIBRARY = next((each for each in LIBRARIES if Path(each).exists()), None)
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    LIBRARY is None or shutil.which("softhsm2-util") is None, reason="SoftHSM is not installed"
)


def test_the_issuing_key_lives_in_a_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(settings)}
    command = "softhsm2-util --init-token --free --label hm --pin 123456 --so-pin 12345678"
    subprocess.run(command.split(), env=environment, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.trustchain.ca.in_token", str(LIBRARY), tmp_path],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {
        "is_chain_whole": True,
        "same_key_again": True,
        "is_extractable": False,
        "is_sensitive": True,
        "was_made_inside": True,
        "value": "AttributeSensitive",
        "wrapped": "KeyUnextractable",
        "secrets": [],
        "wrong_pin": "SignerUnusable",
        "no_token": "SignerUnusable",
        "no_library": "SignerUnusable",
    }
