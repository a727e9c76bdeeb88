"""The ACME server that `measures.trustchain_acme` measures: a company's classic authority with its
transparency log, over TLS. Prints its port and where its directory is, and ends at SIGTERM."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hypermesh.crypto.keystore import KeyStore
from hypermesh.http.serving import serving
from hypermesh.trustchain.acme.authority import AccountsMay, AuthorityIssuer, Offer
from hypermesh.trustchain.acme.policy import Limits, Policy, Validation
from hypermesh.trustchain.acme.server import AcmeServer
from hypermesh.trustchain.acme.sqlite import SqliteStore
from hypermesh.trustchain.ca.ceremony import found_root, install, request_issuing
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.issuing import IssuingAuthority, Order, open_issuing
from hypermesh.trustchain.ca.names import Name, Permission
from hypermesh.trustchain.ca.policy import Grants
from hypermesh.trustchain.ca.profile import PROFILES, Kind
from hypermesh.trustchain.ca.signer import stored_signer
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder

UNLIMITED = 10_000_000


def company(directory: Path) -> tuple[IssuingAuthority, TransparencyLogs]:
    """The whole ceremony, and the authority that follows from it."""
    now_s, profile = int(time.time()), PROFILES["classic"]
    places = Places("http://pki.bench.example")
    root = found_root(
        directory / "root", KeyStore(directory / "rk"), "Bench", profile, places, now_s
    )
    online = directory / "online"
    signer, second = stored_signer(
        KeyStore(online / "keys"), "issuing", profile.issuing, is_hybrid=False
    )
    request = request_issuing(online, signer, second, "Bench")
    certificate = root.certify_issuing(request, now_s)
    install(online, certificate, root.certificate, profile, places, now_s)
    logs = TransparencyLogs(directory / "logs", KeyStore(directory / "lk"), "log.bench.example")
    may = Permission(("dns:.bench.example", "dns:localhost"))
    policy = AccountsMay(may, frozenset({Kind.SERVICE}), Grants({}))
    authority = open_issuing(
        online,
        root.certificate,
        signer,
        second,
        CertificateRecorder(logs),
        policy,
        ActRecorder(logs),
    )
    pem = x509.load_der_x509_certificate(root.certificate).public_bytes(Encoding.PEM)
    (directory / "tls.pem").write_bytes(pem)
    root.close()
    return authority, logs


def certificate(directory: Path, authority: IssuingAuthority) -> Path:
    """The server's own certificate with its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = request.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    names = (Name.parse("dns:server.bench.example"),)
    issued = authority.issue(Order(signed, Kind.SERVICE, "acme:", names), int(time.time()))
    file = directory / "server.pem"
    chain = (x509.load_der_x509_certificate(each) for each in issued.chain[:-1])
    file.write_bytes(
        b"".join(each.public_bytes(Encoding.PEM) for each in chain)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


async def main() -> None:
    told = json.loads(sys.argv[1])
    directory = Path(told["directory"])
    authority, logs = company(directory)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    store = SqliteStore(directory / "store")
    policy = Policy(
        f"https://server.bench.example:{port}/acme",
        caa_identities=("bench.example",),
        limits=Limits(orders_per_account=UNLIMITED, orders=UNLIMITED),
        validation=Validation(
            resolver="127.0.0.1",
            resolver_port=told["dns_port"],
            http_port=told["http_port"],
            allowed=(ipaddress.ip_network("127.0.0.0/8"),),
        ),
    )
    server = AcmeServer(store, AuthorityIssuer({"classic": Offer(authority, "P-256")}), policy)
    await server.start()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate(directory, authority))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with serving(server.application, [listener], tls):
        print(json.dumps({"port": port, "path": "/acme/directory"}), flush=True)
        await stopping.wait()
    await server.close()
    store.close()
    authority.close()
    logs.close()


if __name__ == "__main__":
    uvloop.run(main())
