"""What the name server answers: over UDP and QUIC, with few zones and with many, and how soon a
change is served.

The load comes from `dnsperf` (UDP) and from `crates/hm-dns/examples/quic_load.rs`, on the same
machine as the server and at the same time. All zones are signed with Ed25519, every question asks
for signatures, and each question was asked once before, so that its signature is kept. Knot answers
the same questions in turn, where it is installed, from one zone (`peers/knot.py`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from peers import knot
from result import ROOT, Metric, metric, percentile

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import ActRecorder
from hypermesh.trustchain.dns.keys import Algorithm
from hypermesh.trustchain.dns.published import ZONES_MAX, NewZone, PublishedZones
from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.server import Certificate, NameServer, Quic, Settings
from hypermesh.trustchain.dns.zone import Start

MANY_ZONES = 10_000
SAMPLES = 5
SECONDS = 3
CHANGES = 100
QUIC_CONNECTIONS = 4
QUIC_STREAMS = 16
HOST = "::1"
SERVER_NAME = "ns.bench.example"
PATIENCE_S = 30.0

UDP_GOAL = 50_000
QUIC_GOAL = 10_000
SERVED_GOAL_MS = 50

QUIC_LOAD = ROOT / "target" / "release" / "examples" / "quic_load"


@dataclass
class Running:
    """A server with so many zones, and a file of questions about them."""

    server: NameServer
    zones: PublishedZones
    directory: Path
    start_s: float
    """From nothing in memory to all zones served."""

    @property
    def port(self) -> int:
        return self.server.port("udp")

    @property
    def questions(self) -> Path:
        return self.directory / "questions"


def zone(number: int) -> NewZone:
    apex = f"z{number}.bench.example"
    sets = (
        record_set(apex, "NS", 300, [f"ns.{apex}."]),
        record_set(f"ns.{apex}", "AAAA", 300, ["::1"]),
        record_set(f"www.{apex}", "AAAA", 300, ["2001:db8::1"]),
        record_set(f"_443._tcp.www.{apex}", "TLSA", 300, ["3 1 1 " + "ab" * 32]),
        record_set(apex, "TXT", 300, ['"v=spf1 -all"']),
    )
    start = Start(name(f"ns.{apex}"), name(f"hostmaster.{apex}"))
    return NewZone(name(apex), start, sets, Algorithm.ED25519, "dns-bench")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def certificate(directory: Path) -> Certificate:
    """A certificate for the server that is its own root, which is left in `root.der`."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    root = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])

    def made(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, *, ca: bool
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    shown = made(issuer, root.public_key(), ca=True).sign(root, hashes.SHA256())
    (directory / "root.der").write_bytes(shown.public_bytes(Encoding.DER))
    names = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
    leaf = made(subject, key.public_key(), ca=False).add_extension(names, critical=False)
    der = leaf.sign(root, hashes.SHA256()).public_bytes(Encoding.DER)
    secret = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Certificate((der,), secret)


@contextlib.contextmanager
def running(count: int) -> Iterator[Running]:
    """A server that has loaded `count` zones from its store, as after a restart."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        settings = Settings(addresses=((HOST, 0),), quic=Quic((HOST, 0), certificate(directory)))
        keys = KeyStore(directory / "keys")
        logs = TransparencyLogs(directory / "logs", keys, "log.bench.example")
        acts = ActRecorder(logs)
        first = NameServer(settings)
        zones = PublishedZones(directory / "zones", acts, first, keys, now_ms)
        for begin in range(0, count, ZONES_MAX):
            group = range(begin, min(begin + ZONES_MAX, count))
            zones.add([zone(number) for number in group], "a benchmark")
        zones.close()
        first.stop()
        server = NameServer(settings)
        started = time.perf_counter()
        zones = PublishedZones(directory / "zones", acts, server, keys, now_ms)
        start_s = time.perf_counter() - started
        questions = [f"www.z{number * 7919 % count}.bench.example AAAA" for number in range(count)]
        (directory / "questions").write_text("\n".join(questions) + "\n")
        try:
            yield Running(server, zones, directory, start_s)
        finally:
            zones.close()
            server.stop()
            logs.close()


@contextlib.contextmanager
def peer() -> Iterator[int | None]:
    """The port of Knot with the one zone of `running(1)`; None where it is not installed."""
    knotd = knot.program()
    if knotd is None:
        yield None
        return
    apex = "z0.bench.example"
    records = (
        f"$ORIGIN {apex}.",
        "$TTL 300",
        f"@ SOA ns.{apex}. hostmaster.{apex}. 1 3600 600 86400 300",
        f"@ NS ns.{apex}.",
        "ns AAAA ::1",
        "www AAAA 2001:db8::1",
        "_443._tcp.www TLSA 3 1 1 " + "ab" * 32,
        '@ TXT "v=spf1 -all"',
    )
    with (
        tempfile.TemporaryDirectory() as temporary,
        knot.serving(knotd, Path(temporary), apex, records) as port,
    ):
        yield port


def over_udp(port: int, questions: Path, seconds: int) -> float:
    """Answers a second."""
    command = ["dnsperf", "-s", HOST, "-p", str(port), "-d", str(questions)]
    command += ["-l", str(seconds), "-c", "8", "-T", "1", "-q", "500", "-D"]
    shown = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=True
    ).stdout
    found = re.search(r"Queries per second:\s+([\d.]+)", shown)
    if found is None:
        raise SystemExit(f"dnsperf said something else:\n{shown}")
    return float(found[1])


def over_quic(to: Running, seconds: int) -> float:
    """Answers a second."""
    command = [str(QUIC_LOAD), str(to.server.port("quic")), str(to.directory / "root.der")]
    command += [SERVER_NAME, "www.z0.bench.example", str(seconds)]
    command += [str(QUIC_CONNECTIONS), str(QUIC_STREAMS)]
    before = to.server.counters()["quic"]
    shown = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=True
    ).stdout
    answered, failed, took_s = shown.split()
    if int(failed) or to.server.counters()["quic"] - before < int(answered):
        raise SystemExit(f"{answered} questions over QUIC had an answer, and {failed} had none")
    return int(answered) / float(took_s)


def served_ms(to: Running, number: int) -> float:
    """From the call that changes a record until a client sees it, the log's answer included."""
    apex, owner = name("z0.bench.example"), "changing.z0.bench.example"
    address = f"2001:db8::{number + 1:x}"
    change = record_set(owner, "AAAA", 1, [address])
    query = dns.message.make_query(owner, "AAAA", want_dnssec=True)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        started = time.perf_counter()
        to.zones.change(apex, [change], "a benchmark")
        while True:
            answer = dns.query.udp(query, HOST, PATIENCE_S, to.port, sock=client)
            if answer.answer and answer.answer[0][0].to_text() == address:
                return (time.perf_counter() - started) * 1000


def measure(samples: int = SAMPLES, seconds: int = SECONDS, many: int = MANY_ZONES) -> list[Metric]:
    """All of it. One zone and many run in turn."""
    if shutil.which("dnsperf") is None:
        raise SystemExit("dnsperf is not installed")
    if not QUIC_LOAD.exists():
        raise SystemExit(
            f"{QUIC_LOAD.relative_to(ROOT)} is not built: "
            "cargo build --release -p hm-dns --example quic_load"
        )
    one: list[float] = []
    all_zones: list[float] = []
    quic: list[float] = []
    others: list[float] = []
    with running(1) as few, running(many) as full, peer() as other:
        over_udp(few.port, few.questions, 1)
        over_udp(full.port, full.questions, max(seconds, 2))
        if other is not None:
            over_udp(other, few.questions, 1)
        for _ in range(samples):
            one.append(over_udp(few.port, few.questions, seconds))
            if other is not None:
                others.append(over_udp(other, few.questions, seconds))
            all_zones.append(over_udp(full.port, full.questions, seconds))
            quic.append(over_quic(full, seconds))
        served = [served_ms(full, number) for number in range(CHANGES)]
        start_s = full.start_s
    beside = []
    if others:
        beside.append(metric("trustchain.dns.knot.udp", others, "queries/s", better="higher"))
    return [
        *beside,
        metric("trustchain.dns.udp", one, "queries/s", goal=UDP_GOAL, better="higher"),
        metric(
            "trustchain.dns.udp.zones",
            all_zones,
            "queries/s",
            goal=UDP_GOAL,
            better="higher",
            baseline="trustchain.dns.udp",
        ),
        metric("trustchain.dns.quic", quic, "queries/s", goal=QUIC_GOAL, better="higher"),
        metric("trustchain.dns.served", served, "ms"),
        metric(
            "trustchain.dns.served.p99",
            served,
            "ms",
            value=percentile(served, 0.99),
            goal=SERVED_GOAL_MS,
        ),
        metric("trustchain.dns.zones.start", [start_s], "s"),
    ]
