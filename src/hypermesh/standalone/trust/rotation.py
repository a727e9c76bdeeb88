"""The emergency: a new issuing CA in place of one whose key is compromised."""

from __future__ import annotations

import contextlib

from hypermesh.standalone.trust.founding import Directory
from hypermesh.standalone.trust.settings import Settings
from hypermesh.standalone.trust.stores import stores_of
from hypermesh.trustchain.ca.ceremony import Root
from hypermesh.trustchain.ca.content import key_identifier
from hypermesh.trustchain.ca.rotation import rotate

ACTOR = "root"


def rotate_issuer(directory: Directory, root: Root, settings: Settings, now_s: int) -> bytes:
    """Replace the issuing CA of `directory` by one with a new key, in the token where the settings
    name one; its key id, 20 bytes.

    The root revokes the old one first. A rotation that was cut off is run again and completes with
    the same new key.
    """
    name = f"issuing-{now_s}"
    pending = directory.path / "issuing-pending"
    if pending.exists():
        name = pending.read_text().strip()
    else:
        from hypermesh.crypto import files

        files.replace(pending, f"{name}\n".encode())
    signer, second = directory.issuing_keys(root.profile, settings.pkcs11, name)
    with contextlib.closing(stores_of(directory, settings).certificates()) as store:
        rotate(root, directory.ca, signer, second, now_s, ACTOR, settings.root_list_s, store)
    directory.name_issuing_secret(name)
    pending.unlink()
    return key_identifier(signer.public_key)
