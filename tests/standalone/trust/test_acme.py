"""certbot, as it is installed, against the server: control of names is shown in its own DNS."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from .conftest import Server

CERTBOT = Path(sys.executable).with_name("certbot")
RUN_S = 100

HOOK = """#!{python}
import json, os, ssl, urllib.request
zone = "{https}/v1/dns/zones/example.internal"
owner = "_acme-challenge." + os.environ["CERTBOT_DOMAIN"]
body = json.dumps({{"data": ['"' + os.environ["CERTBOT_VALIDATION"] + '"'], "ttl": 0}}).encode()
request = urllib.request.Request(f"{{zone}}/{{owner}}/TXT", body, method="PUT")
request.add_header("authorization", "Bearer {token}")
context = ssl.create_default_context(cafile="{root}")
urllib.request.urlopen(request, timeout=60, context=context).read()
"""


@pytest.mark.skipif(not CERTBOT.exists(), reason="certbot is not installed")
@pytest.mark.timeout(400)
def test_certbot_obtains_renews_and_revokes(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        # Another test may have made the zone already.
        client.put("/v1/dns/zones/example.internal", json={"address": "::1"})
        assert client.get("/v1/dns/zones/example.internal").status_code == 200
    hook = tmp_path / "hook.py"
    hook.write_text(
        HOOK.format(
            python=sys.executable, https=server.https, token=server.token, root=server.root_file
        )
    )
    hook.chmod(stat.S_IRWXU)

    def certbot(*words: str) -> None:
        done = subprocess.run(
            [
                *(str(CERTBOT), *words, "--non-interactive", "--server", server.places["acme"]),
                *("--config-dir", str(tmp_path / "config"), "--work-dir", str(tmp_path / "work")),
                *("--logs-dir", str(tmp_path / "logs")),
            ],
            env={
                "PATH": "/usr/bin:/bin",
                "REQUESTS_CA_BUNDLE": str(server.root_file),
                "HOME": str(tmp_path),
                "LANG": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        log = tmp_path / "logs" / "letsencrypt.log"
        assert done.returncode == 0, f"{done.stdout}{done.stderr}{log.read_text()[-4000:]}"

    def certificate() -> x509.Certificate:
        file = tmp_path / "config" / "live" / "web.example.internal" / "fullchain.pem"
        return x509.load_pem_x509_certificates(file.read_bytes())[0]

    def figure(name: str) -> float:
        with server.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    issued, revoked = (f"trustchain_certificates_{each}_total" for each in ("issued", "revoked"))
    before = figure(issued), figure(revoked)
    certbot("register", "--agree-tos", "--register-unsafely-without-email")
    certbot(
        *("certonly", "--manual", "--preferred-challenges", "dns"),
        *("--manual-auth-hook", str(hook), "-d", "web.example.internal"),
    )
    first = certificate()
    certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")
    second = certificate()
    assert first.serial_number != second.serial_number
    certbot("revoke", "--cert-name", "web.example.internal", "--no-delete-after-revoke")
    with server.client() as client:
        told = client.get(f"/v1/certificates/{second.serial_number:x}").json()
        assert told["requester"].startswith("acme:")
        assert told["revoked_s"] is not None
        kept = client.get(f"/v1/certificates/{first.serial_number:x}").json()
        assert kept["revoked_s"] is None
        assert (figure(issued), figure(revoked)) == (before[0] + 2, before[1] + 1)
        page = json.dumps(client.get("/v1/audit", params={"limit": 1000}).json())
    assert f"{second.serial_number:x}" in page
