"""A process with an issuing key in a PKCS#11 token; see `test_token`. Prints what it found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
from cryptography import x509

from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.ceremony import found_root, install, request_issuing
from hypermesh.trustchain.ca.issuing import open_issuing
from hypermesh.trustchain.ca.profile import PROFILES
from hypermesh.trustchain.ca.token import TokenSigner

from .companies import EVERYTHING, NOW, PLACES, issued
from .memory_log import MemoryLog

PIN = "123456"


def name_of(action: Callable[[], object]) -> str:
    """The name of what `action` raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "nothing"


def main(library: str, directory: Path) -> dict[str, Any]:
    offline, online = directory / "offline", directory / "online"
    profile = PROFILES["classic"]
    root = found_root(offline, KeyStore(offline / "keys"), "Example", profile, PLACES, NOW)
    wrong_pin = name_of(lambda: TokenSigner.open(library, "hm", "000000", "issuing"))
    signer = TokenSigner.open(library, "hm", PIN, "issuing")
    request = request_issuing(online, signer, None, "Example")
    certificate = root.certify_issuing(request, NOW)
    install(online, certificate, root.certificate, profile, PLACES, NOW)
    authority = open_issuing(
        online, root.certificate, signer, None, MemoryLog(NOW * 1000), EVERYTHING
    )
    chain = [x509.load_der_x509_certificate(each) for each in issued(authority).chain]
    chain[0].verify_directly_issued_by(chain[1])
    chain[1].verify_directly_issued_by(chain[2])
    key = signer._private
    wrapping = signer._session.generate_key(pkcs11.KeyType.AES, 256)
    again = TokenSigner.open(library, "hm", PIN, "issuing")
    return {
        "is_chain_whole": True,
        "same_key_again": again.public_key == signer.public_key,
        "is_extractable": key[pkcs11.Attribute.EXTRACTABLE],
        "is_sensitive": key[pkcs11.Attribute.SENSITIVE],
        "was_made_inside": key[pkcs11.Attribute.LOCAL]
        and key[pkcs11.Attribute.NEVER_EXTRACTABLE]
        and key[pkcs11.Attribute.ALWAYS_SENSITIVE],
        "value": name_of(lambda: key[pkcs11.Attribute.VALUE]),
        "wrapped": name_of(
            lambda: wrapping.wrap_key(key, mechanism=pkcs11.Mechanism.AES_KEY_WRAP_PAD)
        ),
        "secrets": KeyStore(online / "keys").names(),
        "wrong_pin": wrong_pin,
        "no_token": name_of(lambda: TokenSigner.open(library, "other", PIN, "issuing")),
        "no_library": name_of(lambda: TokenSigner.open("/nowhere.so", "hm", PIN, "issuing")),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))  # noqa: T201
