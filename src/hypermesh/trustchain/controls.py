"""Controls on which records of a certificate authority bear, in our words: of SOC 2 (AICPA Trust
Services Criteria 2017) and of the HIPAA Security Rule (45 CFR part 164). Whether one is met is for
an assessor to say."""

from __future__ import annotations

from hypermesh.wire.api.report import Control

_TEXTS = {
    "CC6.1": ("SOC 2", "Logical access is restricted by identities and credentials"),
    "CC6.2": (
        "SOC 2",
        "Credentials are registered and authorised before they are issued, and removed",
    ),
    "CC6.7": ("SOC 2", "Transmission of information is restricted and protected"),
    "CC7.2": ("SOC 2", "Anomalies are monitored"),
    "CC8.1": ("SOC 2", "Changes are authorised, tracked and documented"),
    "164.312(a)(1)": (
        "HIPAA",
        "Access control: access only for those persons or programs that were granted it",
    ),
    "164.312(b)": ("HIPAA", "Audit controls: activity is recorded and can be examined"),
    "164.312(c)(1)": ("HIPAA", "Integrity: records are protected from improper alteration"),
    "164.312(d)": ("HIPAA", "Person or entity authentication"),
    "164.312(e)(1)": ("HIPAA", "Transmission security"),
}


def control(identifier: str, evidence: str) -> Control:
    """The control `identifier`, on which `evidence` bears."""
    framework, text = _TEXTS[identifier]
    return Control(framework, identifier, text, evidence)
