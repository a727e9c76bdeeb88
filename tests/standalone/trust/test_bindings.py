"""External accounts: made, listed and dropped beside a running server, demanded by a setting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Server, founded, said, trustchain
from .test_rereading import SAID, rewritten

CERTBOT = Path(sys.executable).with_name("certbot")
RUN_S = 100
ACCOUNT = ("register", "--agree-tos", "--register-unsafely-without-email")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = founded(tmp_path / "data")
    yield made
    made.kill()


def certbot(server: Server, place: Path, *words: str) -> tuple[int, str]:
    """certbot's exit code and what it said, its log with it."""
    done = subprocess.run(
        [
            *(str(CERTBOT), *words, "--non-interactive", "--server", server.places["acme"]),
            *("--config-dir", str(place / "config"), "--work-dir", str(place / "work")),
            *("--logs-dir", str(place / "logs")),
        ],
        env={
            "PATH": "/usr/bin:/bin",
            "REQUESTS_CA_BUNDLE": str(server.root_file),
            "HOME": str(place),
            "LANG": "C.UTF-8",
        },
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    log = place / "logs" / "letsencrypt.log"
    return done.returncode, f"{done.stdout}{done.stderr}{log.read_text()[-4000:]}"


def eab(server: Server, *words: str) -> dict[str, str]:
    done = trustchain("eab", *words, data=server.data)
    assert done.returncode == 0, done.stderr
    return said(done.stdout) if done.stdout else {}


@pytest.mark.skipif(not CERTBOT.exists(), reason="certbot is not installed")
@pytest.mark.timeout(600)
def test_certbot_registers_by_its_external_account_alone(server: Server, tmp_path: Path) -> None:
    server.start()
    assert SAID in rewritten(
        server, ("external_account_required = false", "external_account_required = true")
    )
    place = tmp_path / "certbot"
    code, text = certbot(server, place, *ACCOUNT)
    assert code != 0
    assert "external account" in text.lower()

    made = eab(server, "create", "the", "web", "team")
    assert eab(server, "ls") == {made["kid"]: "the web team  unused"}
    key = ("--eab-kid", made["kid"], "--eab-hmac-key", made["key"])
    code, text = certbot(server, place, *ACCOUNT, *key)
    assert code == 0, text
    assert eab(server, "ls")[made["kid"]].startswith("the web team  account ")

    code, text = certbot(server, place, "update_account", "--email", "web@example.internal")
    assert code == 0, text
    assert eab(server, "drop", made["kid"]) == {"dropped": "the web team"}
    assert eab(server, "ls") == {}
    code, text = certbot(server, place, "update_account", "--email", "more@example.internal")
    assert code != 0
    assert "deactivated" in text, "the account that was made with it ends"
    code, text = certbot(server, tmp_path / "another", *ACCOUNT, *key)
    assert code != 0, "the key is forgotten"
    server.kill()


def test_an_unknown_external_account_is_refused(server: Server) -> None:
    done = trustchain("eab", "drop", "nobody", data=server.data)
    assert (done.returncode, "HM-TRUST-0241" in done.stderr) == (5, True)
    done = trustchain("eab", "create", data=server.data)
    assert done.returncode == 2
