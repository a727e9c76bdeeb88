"""Issuing: from the bytes of a request to a certificate that is linted, logged, durable and shown.

One order at a time gives the latencies, threads that ask at the same time the rate. The log is the
transparency log itself, on the same disk.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from cryptography import x509
from result import Metric, metric, percentile

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.ceremony import found_root, install, request_issuing
from hypermesh.trustchain.ca.content import Places
from hypermesh.trustchain.ca.issuing import IssuingAuthority, Order, open_issuing
from hypermesh.trustchain.ca.names import Name, Permission
from hypermesh.trustchain.ca.policy import Grant, Grants
from hypermesh.trustchain.ca.profile import PROFILES, Kind
from hypermesh.trustchain.ca.request import write_request
from hypermesh.trustchain.ca.signer import KeySigner, stored_signer
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import CertificateRecorder

ALONE = 300
THREADS = 32
EACH = 100
ROUNDS = 3
WAIT_S = 60.0
PLACES = Places("http://pki.example.internal")
POLICY = Grants({"bench": Grant(frozenset({Kind.SERVICE}), Permission(("dns:.example.internal",)))})


def measure() -> list[Metric]:
    return [
        *_issuing("classic", KeyKind.P256, 5.0, 35.0, 1000.0),
        *_issuing("pq", KeyKind.ML_DSA_65, 15.0, None, None),
        *_issuing("hybrid", KeyKind.P256, None, None, None),
    ]


def _issuing(
    name: str,
    leaf: KeyKind,
    p50_goal_ms: float | None,
    p99_goal_ms: float | None,
    rate_goal: float | None,
) -> list[Metric]:
    profile = PROFILES[name]
    with tempfile.TemporaryDirectory(prefix="bench-issue-") as directory:
        base = Path(directory)
        now_s = int(time.time())
        root = found_root(
            base / "root", KeyStore(base / "root" / "keys"), "Bench", profile, PLACES, now_s
        )
        signer, second = stored_signer(
            KeyStore(base / "ca" / "keys"), "issuing", profile.issuing, is_hybrid=profile.is_hybrid
        )
        request = request_issuing(base / "ca", signer, second, "Bench")
        certificate = root.certify_issuing(request, now_s)
        install(base / "ca", certificate, root.certificate, profile, PLACES, now_s)
        logs = TransparencyLogs(base / "ct", KeyStore(base / "ct-keys"), "bench.example")
        authority = open_issuing(
            base / "ca",
            root.certificate,
            signer,
            second,
            CertificateRecorder(logs, WAIT_S),
            POLICY,
        )
        # The request is the requester's work; each order has a reference of its own.
        names = [Name.parse("dns:www.example.internal")]
        asked = write_request(KeySigner.generate(leaf), x509.Name([]), names)
        _issue(authority, asked, 10, b"warm", now_s)
        waits_ms = _issue(authority, asked, ALONE, b"alone", now_s)
        rates = [_together(authority, asked, number, now_s) for number in range(ROUNDS)]
        authority.close()
        logs.close()
        root.close()
    figure = f"trustchain.issue.{name}"
    return [
        metric(f"{figure}_p50", waits_ms, "ms", goal=p50_goal_ms),
        metric(f"{figure}_p99", waits_ms, "ms", value=percentile(waits_ms, 0.99), goal=p99_goal_ms),
        metric(f"{figure}_rate", rates, "1/s", goal=rate_goal, better="higher"),
    ]


def _issue(
    authority: IssuingAuthority, asked: bytes, count: int, label: bytes, now_s: int
) -> list[float]:
    """The milliseconds of each of `count` orders, one after the other."""
    waits_ms = []
    for number in range(count):
        order = Order(asked, Kind.SERVICE, "bench", reference=label + number.to_bytes(4, "big"))
        started = time.perf_counter()
        authority.issue(order, now_s)
        waits_ms.append((time.perf_counter() - started) * 1000)
    return waits_ms


def _together(authority: IssuingAuthority, asked: bytes, number: int, now_s: int) -> float:
    """Certificates a second that `THREADS` threads get."""
    threads = [
        threading.Thread(
            target=_issue, args=(authority, asked, EACH, b"%d-%d-" % (number, place), now_s)
        )
        for place in range(THREADS)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return THREADS * EACH / (time.perf_counter() - started)
