"""The numbers of TrustChain: authority, ACME, transparency log, names, revocation.

    python benches/trustchain.py [--report FILE] [--only NAME ...]

Writes `benches/results/trustchain.json`, or FILE. With `--only` nothing is written unless FILE is
given.
"""

from __future__ import annotations

from measures import (
    trustchain_acme,
    trustchain_dns,
    trustchain_issue,
    trustchain_issue_https,
    trustchain_log,
    trustchain_lookup,
    trustchain_revocation,
)
from program import Measure, main

MEASURES: dict[str, Measure] = {
    "issue": trustchain_issue.measure,
    "https": trustchain_issue_https.measure,
    "lookup": trustchain_lookup.measure,
    "acme": trustchain_acme.measure,
    "log": trustchain_log.measure,
    "dns": trustchain_dns.measure,
    "revocation": trustchain_revocation.measure,
}


if __name__ == "__main__":
    main(__doc__, "trustchain", MEASURES)
