"""A network to test against: certificate authority, nodes, sessions, endpoints."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from hypermesh.crypto.falcon import FalconKey
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint, Refusal
from hypermesh.stoq.trust import Identity, TrustPolicy
from hypermesh.trustchain.certificate import (
    SERIAL_ENTROPY_BYTES,
    Authority,
    AuthorityKeys,
    Validity,
    issuing_certificate,
    node_certificate,
    root_certificate,
    serial_number,
)

DEADLINE_S = 10
"""How long a test waits for something that must happen."""
POLL_S = 0.005

HOUR_S = 3600

T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, within_s: float = DEADLINE_S) -> T:
    """The first value of `look` that is not `None`, before the deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = look()
        if value is not None:
            return value
        time.sleep(POLL_S)
    raise AssertionError(f"not within {within_s} s: {what}")


async def eventually_async(look: Callable[[], bool], what: str) -> None:
    """Return once `look` says so, before the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not look():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        await asyncio.sleep(POLL_S)


def refusal_of(endpoint: Endpoint) -> Refusal:
    """The next refusal that `endpoint` reports."""

    def look() -> Refusal | None:
        refusals = endpoint.refusals()
        return refusals[0] if refusals else None

    return eventually(look, "a refusal")


def _serial() -> int:
    return serial_number(secrets.token_bytes(SERIAL_ENTROPY_BYTES))


def _authority_keys() -> AuthorityKeys:
    return AuthorityKeys(ec.generate_private_key(ec.SECP256R1()), FalconKey.generate())


@dataclass(frozen=True)
class Network:
    """One certificate authority and the genesis id it signs for."""

    genesis: bytes
    root: Authority
    issuing: Authority

    @classmethod
    def found(cls) -> Network:
        validity = lasting(24 * HOUR_S)
        root_keys, issuing_keys = _authority_keys(), _authority_keys()
        root = Authority(root_certificate(root_keys, "test", validity, _serial()), root_keys)
        issuing = Authority(
            issuing_certificate(issuing_keys, root, "test", validity, _serial()), issuing_keys
        )
        return cls(secrets.token_bytes(32), root, issuing)

    @property
    def policy(self) -> TrustPolicy:
        return TrustPolicy(
            network=self.genesis,
            roots=[self.root.certificate],
            issuers=[self.issuing.certificate],
        )

    def identity(
        self, keys: QuantumKeys, *, genesis: bytes | None = None, validity: Validity | None = None
    ) -> Identity:
        """A node of this network, unless a keyword makes it wrong."""
        leaf = node_certificate(
            keys.public,
            owner_of(keys),
            genesis or self.genesis,
            self.issuing,
            validity or lasting(HOUR_S),
            _serial(),
        )
        return Identity((leaf, self.issuing.certificate, self.root.certificate), keys)


def owner_of(keys: QuantumKeys) -> bytes:
    """The owner that `Network.identity` names for a node."""
    return bytes(reversed(keys.id))


def lasting(seconds: int) -> Validity:
    """From an hour ago until in `seconds` (which may be in the past)."""
    now = int(time.time())
    return Validity(now - HOUR_S, now + seconds)
