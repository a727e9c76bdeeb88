"""The object identifiers of hybrid certificates that `cryptography` has no name for.

`vectors/oids.json` lists every identifier with its source; a test holds this module and the Rust
check against it.
"""

from __future__ import annotations

from cryptography.x509 import ObjectIdentifier

FALCON_1024_PADDED = ObjectIdentifier("1.3.9999.3.19")
SUBJECT_ALT_PUBLIC_KEY = ObjectIdentifier("2.5.29.72")
ALT_SIGNATURE_ALGORITHM = ObjectIdentifier("2.5.29.73")
ALT_SIGNATURE_VALUE = ObjectIdentifier("2.5.29.74")
