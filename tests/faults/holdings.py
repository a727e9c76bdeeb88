"""What a node's stores beside the ledger hold, by the keys of the promises."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from hypermesh.assets.hosting import HostedAssets
from hypermesh.crypto.digest import digest_of
from hypermesh.node import configuration, lifecycle
from hypermesh.node.api.answers import Answers
from hypermesh.node.borrowing import Sessions
from hypermesh.node.configuration import Configuration
from hypermesh.node.founding import found
from hypermesh.node.locators import Locators
from hypermesh.node.membership import Membership, key_store
from hypermesh.trustchain.ca.authority import CertificateAuthority
from hypermesh.trustchain.ca.invitations import Invitations

from .promises import Promises, Verdict

FOUNDED_MS = 1_800_000_000_000
_CA = "SELECT request, certificate FROM issued"
_INVITATIONS = "SELECT secret_digest, request FROM invitations"
_ANSWERS = "SELECT key, answer FROM answers"


class Damaged(Exception):
    """A database is not sound."""


def fingerprint(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def settings(data: Path) -> Configuration:
    """The settings that are kept in `data`."""
    return Configuration.of(data, name=None, share=None, level=None, stoq_host=None, stoq_port=None)


def held(data: Path) -> dict[str, str]:
    """Everything that is kept in `data`, opened by a node's own code.

    Raises whatever keeps a node from starting.
    """
    found: dict[str, str] = {}
    chosen = settings(data).settings
    if chosen.stoq_port:
        found["settings"] = str(chosen.stoq_port)
    keys = key_store(data)
    for name in keys.names():
        found[f"secret {name}"] = fingerprint(keys.get(name))
    membership = Membership.open(data)
    if membership is not None:
        found["genesis"] = fingerprint(membership.genesis_id)
        found["certificate"] = fingerprint(membership.chain[0])
        found["seeds"] = str(len(membership.seeds))
        locators = Locators(data / "locators", membership.genesis_id)
        for node in locators.nodes():
            found[f"locator {node.hex()}"] = str(locators.of(node).locator.sequence)
        CertificateAuthority.open(data, membership.store).close()
        Invitations(data).close()
        Answers(data / lifecycle.ANSWERS_FILE).close()
    for record in HostedAssets(data / "hosted"):
        found[f"hosted {record.asset.hex()}"] = fingerprint(digest_of("test", record))
    sessions = Sessions(data / "sessions")
    for lease in sessions._kept:
        session = sessions.get(lease)
        assert session is not None
        found[f"session {lease.hex()}"] = session.id.hex()
    token = data / lifecycle.TOKEN_FILE
    if token.exists():
        found["token"] = token.read_text()
    return found | _in_databases(data)


def _in_databases(data: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for request, certificate in _rows(data / "ca.sqlite", _CA):
        found[f"issued {fingerprint(request)}"] = fingerprint(certificate)
    for secret, request in _rows(data / "invitations.sqlite", _INVITATIONS):
        found[f"invitation {fingerprint(secret)}"] = fingerprint(request) if request else "open"
    for key, answer in _rows(data / lifecycle.ANSWERS_FILE, _ANSWERS):
        found[f"answer {key}"] = fingerprint(answer) if answer else "none yet"
    return found


def _rows(path: Path, query: str) -> list[tuple[bytes, bytes]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            raise Damaged(f"{path.name}: {sound}")
        table = query.rpartition(" ")[2]
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
        return list(connection.execute(query)) if made.fetchone() else []


def check(point: Path, promises: Promises) -> Verdict:
    """Open the stores that are left in `point` as a node's start does, and compare."""
    data = point / "node"
    try:
        configuration.prepare(data)
        found = held(data)
    except Exception as error:  # noqa: BLE001 - whatever keeps a node from starting
        return Verdict(lost=(f"the node does not start: {error!r}",))
    return promises.check(found)


def check_founding(point: Path, promises: Promises) -> Verdict:
    """As `check`; and where the node is no member yet, it founds its network again and is one."""
    verdict = check(point, promises)
    data = point / "node"
    if verdict or Membership.open(data) is not None:
        return verdict
    membership = found(data, "alice-net", FOUNDED_MS)
    again = Membership.open(data)
    if again is None or again.genesis_id != membership.genesis_id:
        return Verdict(lost=("the network that was founded again",))
    return verdict
