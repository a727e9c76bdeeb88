"""step-ca (Apache-2.0) as a peer of the ACME server: P-256 root and issuing CA, its own database
(badger, synced at each write), http-01. Prints its port and where its directory is, and ends at
SIGTERM.

    python benches/peers/step_ca.py PROGRAM '{"directory": ..., "dns_port": ..., "http_port": ...}'
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

VERSION = "v0.30.2"
MODULE = "github.com/smallstep/certificates/cmd/step-ca"
TOOLS = Path(__file__).resolve().parents[2] / ".tools"
BUILD_S = 1200
START_S = 30.0
HOST = "server.bench.example"


def program() -> Path | None:
    """The pinned step-ca, built where it is missing and Go is there; None, said why, where not."""
    built = TOOLS / f"step-ca-{VERSION}"
    if built.exists():
        return built
    go = shutil.which("go")
    if go is None:
        sys.stdout.write("step-ca is left out: it is not in .tools, and Go is missing\n")
        return None
    TOOLS.mkdir(exist_ok=True)
    # Without cgo it needs no library of smart cards.
    settings = {**os.environ, "GOBIN": str(TOOLS), "GOFLAGS": "-trimpath", "CGO_ENABLED": "0"}
    try:
        subprocess.run(
            [go, "install", f"{MODULE}@{VERSION}"],
            env=settings,
            check=True,
            capture_output=True,
            timeout=BUILD_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"step-ca is left out: it cannot be built ({type(error).__name__})\n")
        return None
    (TOOLS / "step-ca").replace(built)
    return built


def authorities(directory: Path) -> None:
    """A root and an issuing CA, with the issuing key, as files in `directory`."""
    root, issuing = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    above = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench Root")])
    below = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench Issuing")])
    now = dt.datetime.now(dt.UTC)
    for file, name, key, depth in (("tls", above, root, 1), ("issuing", below, issuing, 0)):
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        public = key.public_key()
        identifier = x509.SubjectKeyIdentifier.from_public_key(public)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(above)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(issuer, critical=False)
            .sign(root, hashes.SHA256())
        )
        (directory / f"{file}.pem").write_bytes(made.public_bytes(Encoding.PEM))
    secret = issuing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "issuing.key").write_bytes(secret)


def main() -> None:
    told = json.loads(sys.argv[2])
    directory = Path(told["directory"])
    authorities(directory)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "root": str(directory / "tls.pem"),
        "crt": str(directory / "issuing.pem"),
        "key": str(directory / "issuing.key"),
        "address": f"127.0.0.1:{port}",
        "dnsNames": [HOST],
        "db": {"type": "badgerv2", "dataSource": str(directory / "db")},
        "authority": {
            "provisioners": [{"type": "ACME", "name": "acme", "challenges": ["http-01"]}]
        },
    }
    (directory / "ca.json").write_text(json.dumps(settings))
    command = [sys.argv[1], str(directory / "ca.json"), "--insecure"]
    command += ["--resolver", f"127.0.0.1:{told['dns_port']}"]
    command += ["--acme-http-port", str(told["http_port"])]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    answers(server, port, ssl.create_default_context(cafile=directory / "tls.pem"))
    print(json.dumps({"port": port, "path": "/acme/acme/directory"}), flush=True)
    server.wait()


def answers(server: subprocess.Popen[bytes], port: int, context: ssl.SSLContext) -> None:
    """Wait until `server` answers."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as plain:
                context.wrap_socket(plain, server_hostname=HOST).close()
        except OSError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                raise SystemExit("step-ca does not answer") from error
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main()
