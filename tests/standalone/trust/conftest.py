"""`trustchain-server` as a process of its own, and clients of it."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.postgresql.fixtures import place_of

WAIT_S = 60.0
SETTINGS = """
name = "Example"
profile = "{profile}"
hosts = ["::1", "localhost", "trust.hypermesh.online"]
permitted = ["dns:.example.internal", "email:@example.internal"]
https = "[::1]:0"
http = "[::1]:0"
public_url = "http://ca.example.internal"
[dns]
listen = "[::1]:0"
tls = "[::1]:0"
quic = "[::1]:0"
updates = true
upstream = {upstream}
[acme]
enabled = true
[rate]
stranger_per_s = 100000
member_per_s = 100000
[[client]]
name = "email:ops@example.internal"
role = "operator"
[[client]]
name = "email:audit@example.internal"
role = "auditor"
"""


def trustchain(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    """One command of `trustchain-server` on `data`."""
    return subprocess.run(
        [sys.executable, "-m", "hypermesh.standalone.trust", *words, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def said(text: str) -> dict[str, str]:
    """What a command printed, as its first words and the rest of each line."""
    return dict(line.split(maxsplit=1) for line in text.strip().splitlines())


@dataclass
class Server:
    """A server that was founded in `data`; `start` it."""

    data: Path
    token: str
    log: str
    store: str = "sqlite"
    process: subprocess.Popen[str] | None = None
    places: dict[str, str] = field(default_factory=dict)

    def start(self, *program: str) -> None:
        """Run it, by another Python `program` where one is given."""
        with (self.data / "stderr").open("a") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *(program or ("-m", "hypermesh.standalone.trust")),
                    "run",
                    "--data",
                    str(self.data),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        self.places = {}
        # It says where it serves when all of it does; where it fails, its output ends.
        for line in self.process.stdout:
            word, rest = line.split(maxsplit=1)
            self.places[word] = rest.strip()
            if word == "root":
                return
        raise AssertionError((self.data / "stderr").read_text())

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.kill()
        self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def root_file(self) -> Path:
        return self.data / "root" / "root.pem"

    @property
    def root(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.root_file.read_bytes())

    @property
    def https(self) -> str:
        return f"https://{self.places['https']}"

    @property
    def http(self) -> str:
        return f"http://{self.places['http']}"

    def port(self, name: str) -> int:
        return int(self.places[name].rpartition(":")[2])

    def context(self, chain: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.root_file))
        if chain is not None:
            context.load_cert_chain(str(chain), None if key is None else str(key))
        return context

    def client(self, token: str | None = "", **more: Any) -> httpx.Client:
        """A client of the API: the first operator's token, another, or (None) no one's."""
        headers = {} if token is None else {"authorization": f"Bearer {token or self.token}"}
        more.setdefault("verify", self.context())
        return httpx.Client(base_url=self.https, headers=headers, timeout=WAIT_S, **more)

    def token_of(self, role: str, *names: str) -> str:
        """A new token."""
        flags = [word for name in names for word in ("--name", name)]
        done = trustchain("token", "create", role, "--role", role, *flags, data=self.data)
        assert done.returncode == 0, done.stderr
        return said(done.stdout)["token"]


def store_of(request: pytest.FixtureRequest) -> str:
    """The setting `store` that a fixture's parameter asks for."""
    place = place_of(request)
    return "sqlite" if place is None else place.url


def founded(
    data: Path,
    profile: str = "classic",
    upstream: str = "",
    store: str = "sqlite",
    settings: str = SETTINGS,
) -> Server:
    """The ceremony, held in `data`."""
    file = data.with_suffix(".toml")
    file.write_text(
        settings.format(profile=profile, upstream=f"[{upstream!r}]" if upstream else "[]")
    )
    done = trustchain("init", "--config", str(file), "--store", store, data=data)
    assert done.returncode == 0, done.stderr
    told = said(done.stdout)
    return Server(data, told["token"], told["log"], store)


@contextlib.contextmanager
def running(
    data: Path, profile: str = "classic", upstream: str = "", store: str = "sqlite"
) -> Iterator[Server]:
    server = founded(data, profile, upstream, store)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("trust") / "data") as made:
        yield made


@dataclass
class Requested:
    """A PKCS#10 request and its key."""

    request: x509.CertificateSigningRequest
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.request.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.request.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def requested(*names: str) -> Requested:
    """A request for `names`: hosts, and mail addresses where there is an @."""
    key = ec.generate_private_key(ec.SECP256R1())
    general = [x509.RFC822Name(each) if "@" in each else x509.DNSName(each) for each in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return Requested(builder.sign(key, hashes.SHA256()), key)


def eventually(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not look():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


def checkpoint_of(client: httpx.Client, entries: int, path: str = "/checkpoint") -> str:
    """A checkpoint of so many entries or more: one serves a while before the next is signed."""
    shown: list[str] = []

    def look() -> bool:
        shown[:] = [client.get(path).text]
        return int(shown[0].splitlines()[1]) >= entries

    eventually(look, f"a checkpoint of {entries} entries")
    return shown[0]
