"""certbot, as it is installed: registers with an external account, obtains, renews, revokes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from tests.postgresql.fixtures import STORES, place_of

from .process import Held, Names, Process, running

CERTBOT = Path(sys.executable).with_name("certbot")
RUN_S = 100

pytestmark = pytest.mark.skipif(not CERTBOT.exists(), reason="certbot is not installed")


class Certbot:
    """certbot with directories of its own."""

    def __init__(self, directory: Path, server: Process) -> None:
        self.directory = directory
        self._server = server

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(CERTBOT),
                *arguments,
                "--config-dir",
                str(self.directory / "config"),
                "--work-dir",
                str(self.directory / "work"),
                "--logs-dir",
                str(self.directory / "logs"),
                "--server",
                f"{self._server.url}/directory",
                "--non-interactive",
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "REQUESTS_CA_BUNDLE": str(self._server.ca_file),
                "HOME": str(self.directory),
                "LANG": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    def done(self, *arguments: str) -> str:
        """The output of a run that succeeds."""
        run = self.run(*arguments)
        log = self.directory / "logs" / "letsencrypt.log"
        assert run.returncode == 0, f"{run.stdout}{run.stderr}{log.read_text()[-6000:]}"
        return run.stdout + run.stderr

    def certificate(self, name: str) -> x509.Certificate:
        file = self.directory / "config" / "live" / name / "fullchain.pem"
        return x509.load_pem_x509_certificates(file.read_bytes())[0]


@pytest.fixture(params=STORES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Process, Names, Held]]:
    with running(tmp_path, place_of(request), external_account_required=True) as made:
        yield made


def names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


@pytest.mark.timeout(600)
def test_certbot_registers_obtains_renews_and_revokes(
    world: tuple[Process, Names, Held], tmp_path: Path
) -> None:
    server, names, held = world
    certbot = Certbot(tmp_path / "certbot", server)
    standalone = ["--standalone", "--http-01-port", str(held.port)]
    account = ["--agree-tos", "--email", "someone@one.example", "--no-eff-email"]

    refused = certbot.run("register", *account)
    assert refused.returncode != 0
    assert "external account" in (refused.stdout + refused.stderr).lower()
    kid, secret = server.binding
    certbot.done("register", *account, "--eab-kid", kid, "--eab-hmac-key", secret)

    certbot.done("certonly", *standalone, "-d", "one.example", "-d", "two.example")
    first = certbot.certificate("one.example")
    assert names_of(first) == ["one.example", "two.example"]
    first.verify_directly_issued_by(server.authority.root)

    certbot.done("renew", "--force-renewal", "--no-random-sleep-on-renew")
    second = certbot.certificate("one.example")
    assert second.serial_number != first.serial_number
    assert names_of(second) == ["one.example", "two.example"]

    certbot.done(
        "revoke", "--cert-name", "one.example", "--reason", "superseded", "--no-delete-after-revoke"
    )
    assert server.authority.reason(second) == 4
    assert server.authority.reason(first) is None

    hook = tmp_path / "hook.sh"
    hook.write_text(
        "#!/bin/sh\n"
        f'echo "$CERTBOT_VALIDATION" >> "{names.directory}/_acme-challenge.$CERTBOT_DOMAIN.txt"\n'
    )
    hook.chmod(0o700)
    manual = ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", str(hook)]
    wild = ["-d", "*.wild.example", "-d", "wild.example", "--cert-name", "wild"]
    certbot.done("certonly", *manual, *wild)
    assert names_of(certbot.certificate("wild")) == ["*.wild.example", "wild.example"]

    certbot.done("unregister")
    assert certbot.run("certonly", *standalone, "-d", "one.example").returncode != 0
