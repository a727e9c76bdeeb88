"""The transparency log: certificates recorded by many threads, each durable before its SCT.

Every thread records one certificate at a time and waits for its SCT, as an authority's requests do.
Certificates are random bytes of the size of a P-256 leaf, with a chain of two; the log does not
look inside. Beside it, on the same disk, stands what a commit of SQLite takes by itself.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from result import Metric, metric, percentile

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import CertificateRecorder
from hypermesh.trustchain.evidence import FinalCertificate
from measures.operation import Bare

THREADS = 32
ROUNDS = 5
EACH = 300
WARM = 20
CERTIFICATE_BYTES = 1_200
CHAIN = (b"i" * 700, b"r" * 600)
COMMITS = 200
ADDS_GOAL = 2_000
P50_GOAL_MS = 20
WAIT_S = 60.0


def measure(each: int = EACH) -> list[Metric]:
    """`ROUNDS` rounds of `THREADS` threads that record `each` certificates."""
    with tempfile.TemporaryDirectory(prefix="bench-log-") as directory:
        base = Path(directory)
        logs = TransparencyLogs(base / "ct", KeyStore(base / "keys"), "bench.example")
        recorder = CertificateRecorder(logs, WAIT_S)
        _round(recorder, WARM)
        rates, waits_ms = [], []
        for _ in range(ROUNDS):
            rate, waits = _round(recorder, each)
            rates.append(rate)
            waits_ms += waits
        recorded = THREADS * (WARM + ROUNDS * each)
        if logs.certificates.head.size != recorded:
            raise SystemExit(f"{logs.certificates.head.size} of {recorded} were recorded")
        logs.close()
        bare = Bare(base / "bare.sqlite")
        commits = [bare.commit(os.urandom(CERTIFICATE_BYTES)) for _ in range(COMMITS)]
        bare.close()
    baseline = "trustchain.log.bare_commit"
    return [
        metric(
            "trustchain.log.adds",
            rates,
            "1/s",
            goal=ADDS_GOAL,
            better="higher",
        ),
        metric("trustchain.log.sct_p50", waits_ms, "ms", goal=P50_GOAL_MS, baseline=baseline),
        metric(
            "trustchain.log.sct_p99",
            waits_ms,
            "ms",
            value=percentile(waits_ms, 0.99),
            baseline=baseline,
        ),
        metric(baseline, commits, "ms", value=statistics.median(commits)),
    ]


def _round(recorder: CertificateRecorder, each: int) -> tuple[float, list[float]]:
    """(certificates a second, milliseconds of each wait for an SCT) of all threads together."""
    waits_ms: list[float] = []

    def work() -> None:
        certificate, mine = os.urandom(CERTIFICATE_BYTES - 4), []
        for number in range(each):
            submission = FinalCertificate(certificate + number.to_bytes(4, "big"), CHAIN)
            started = time.perf_counter()
            recorder.record([submission])
            mine.append((time.perf_counter() - started) * 1000)
        waits_ms.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - started
    if len(waits_ms) != THREADS * each:
        raise SystemExit("a thread of the measure failed")
    return len(waits_ms) / elapsed_s, waits_ms
