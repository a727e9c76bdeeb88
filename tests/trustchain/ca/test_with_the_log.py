"""The authority over the transparency log itself: what is issued is in it, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.issuing import IssuedCertificate, open_issuing
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.recorder import CertificateRecorder

from .companies import EVERYTHING, NOW, company, order, parsed
from .test_issuing import embedded

WAIT_S = 60.0


@pytest.mark.parametrize("profile", ["classic", "hybrid"])
def test_what_is_issued_is_in_the_log(tmp_path: Path, profile: str) -> None:
    firm = company(tmp_path, profile)

    def opened() -> TransparencyLogs:
        return TransparencyLogs(tmp_path / "ct", KeyStore(tmp_path / "ct-keys"), "log.example")

    logs = opened()
    authority = open_issuing(
        firm.online,
        firm.root.certificate,
        firm.signer,
        firm.second,
        CertificateRecorder(logs, WAIT_S),
        EVERYTHING,
    )
    orders = [order(authority) for _ in range(5)]
    first = authority.issue(orders[0], NOW)
    answers = authority.issue_all(orders, NOW + 1)
    assert answers[0] == first
    issued = [each for each in answers if isinstance(each, IssuedCertificate)]
    assert [each.log_index for each in issued] == list(range(5))
    assert logs.certificates.head.size == 5
    for each in issued:
        certificate, issuing = map(parsed, each.chain[:2])
        certificate.verify_directly_issued_by(issuing)
        if profile == "classic":
            assert embedded(certificate) == each.sct
    authority.close()
    logs.close()
    again = opened()
    assert again.certificates.head.size == 5
    again.close()
