"""One call of every method of every noun: (noun, method) and its arguments. A test fails for a
method that has no row here."""

from __future__ import annotations

from typing import Any

from hypermesh.wire.api.asset import RegisterAsset
from hypermesh.wire.api.job import JobState, JobSubmit
from hypermesh.wire.api.lease import LeaseView
from hypermesh.wire.api.parcel import Box
from hypermesh.wire.api.privacy import PrivacyChange
from hypermesh.wire.api.token import Scope
from hypermesh.wire.api.tunnel import Who
from hypermesh.wire.asset import AssetKind, AssetState, LeaseState, PrivacyLevel

HEX16 = "0f" * 16
HEX32 = "a1" * 32

LEASE = LeaseView(
    lease=HEX32,
    asset=HEX16,
    address="hm://fd00000000000000.0000000000000000.0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f:0",
    kind=AssetKind.MEMORY,
    provider=HEX32,
    consumer=HEX32,
    state=LeaseState.ACTIVE,
    amount=64,
    escrow=1,
    start_ms=0,
    end_ms=0,
    epoch=1,
    session=HEX32,
    host="::1",
    port=1,
)

SAMPLES: dict[tuple[str, str], tuple[tuple[Any, ...], dict[str, Any]]] = {
    ("accounts", "get"): ((), {}),
    ("accounts", "transfer"): ((HEX32, 5, "rent"), {}),
    ("assets", "list"): ((AssetKind.CPU,), {}),
    ("assets", "get"): ((HEX16,), {}),
    ("assets", "register"): ((RegisterAsset(kind=AssetKind.CPU),), {}),
    ("consensus", "status"): ((), {}),
    ("consensus", "challenges"): ((HEX32,), {}),
    ("consensus", "validate"): ((), {"bundle": b"\x01"}),
    ("jobs", "run"): ((JobSubmit(engine="python", program="00"),), {}),
    ("leases", "list"): ((), {}),
    ("leases", "get"): ((HEX32,), {}),
    ("leases", "allocate"): ((HEX16, 64), {"keep": True}),
    ("leases", "session"): ((HEX32,), {}),
    ("leases", "release"): ((LEASE,), {}),
    ("ledger", "block"): ((3,), {}),
    ("ledger", "submit"): ((b"\x01\x02",), {}),
    ("network", "status"): ((), {}),
    ("network", "readiness"): ((), {}),
    ("network", "invite"): ((), {"mine": True}),
    ("network", "nodes"): ((), {}),
    ("parcels", "send"): ((HEX32, b"hello", 9), {}),
    ("parcels", "list"): ((Box.RECEIVED,), {"service": 9}),
    ("parcels", "get"): ((HEX32,), {}),
    ("parcels", "remove"): ((HEX32,), {}),
    ("privacy", "settings"): ((), {}),
    ("privacy", "change"): ((PrivacyChange(asset=HEX16, level=PrivacyLevel.P2P),), {}),
    ("tokens", "create"): (("laptop", [Scope.READ]), {}),
    ("attempts", "list"): ((), {}),
    ("attempts", "run"): (("replay", b"x"), {}),
    ("inbox", "list"): ((), {}),
    ("inbox", "proof"): ((HEX16,), {}),
    ("inbox", "senders"): ((), {}),
    ("inbox", "allow"): ((HEX32, 5), {}),
    ("inbox", "deny"): ((HEX32,), {}),
    ("transfer", "send"): (("file", "desktop"), {}),
    ("transfer", "submit"): (("file", "desktop"), {}),
    ("transfer", "get"): ((HEX16,), {}),
    ("transfer", "list"): ((), {}),
    ("tokens", "list"): ((), {}),
    ("tokens", "revoke"): ((HEX16,), {}),
    ("accounts", "entries"): ((HEX32,), {}),
    ("assets", "history"): ((HEX16,), {}),
    ("assets", "set_state"): ((HEX16, AssetState.MAINTENANCE), {}),
    ("assets", "transfer"): ((HEX16, HEX32), {}),
    ("assets", "offer"): ((HEX16, 5, HEX32, 7), {}),
    ("assets", "withdraw"): ((HEX16,), {}),
    ("assets", "accept"): ((HEX16, 5), {}),
    ("assets", "attestation"): ((HEX32,), {}),
    ("jobs", "submit"): ((JobSubmit(engine="python", program="00"),), {}),
    ("jobs", "get"): ((HEX16,), {}),
    ("jobs", "list"): ((JobState.DONE,), {}),
    ("ledger", "blocks"): ((), {}),
    ("ledger", "transaction"): ((HEX32,), {}),
    ("network", "node"): ((HEX32,), {}),
    ("network", "health"): ((), {}),
    ("privacy", "preview"): ((PrivacyChange(asset=HEX16, level=PrivacyLevel.P2P),), {}),
    ("receipts", "get"): ((HEX32,), {}),
    ("memory", "lease"): ((64,), {}),
    ("memory", "open"): ((LEASE.address,), {}),
    ("memory", "put"): ((LEASE.address, b"x"), {}),
    ("certificates", "list"): ((), {}),
    ("certificates", "get"): ((HEX32,), {}),
    ("certificates", "authority"): ((), {}),
    ("certificates", "revoke"): ((HEX32, "stolen"), {}),
    ("dns", "status"): ((), {}),
    ("dns", "list"): ((), {}),
    ("dns", "resolve"): (("a.example", "TXT"), {}),
    ("dns", "switch"): ((1,), {}),
    ("dns", "labels"): ((), {}),
    ("dns", "name"): (("desk",), {"node": HEX32}),
    ("dns", "drop"): (("desk",), {}),
    ("certificates", "replace_issuer"): (("the CA's host was broken into", 60_000), {}),
    ("stoq", "status"): ((), {}),
    ("stoq", "connections"): ((), {}),
    ("catalog", "get"): ((), {}),
    ("caesar", "get"): ((), {}),
    ("mfn", "list"): ((), {}),
    ("memory", "at"): ((LEASE.address,), {}),
    ("tunnels", "offer"): (("db", "tcp:[::1]:5432", Who.NAMED, [HEX32]), {"limit": 3}),
    ("tunnels", "services"): ((), {}),
    ("tunnels", "drop"): (("db",), {}),
    ("tunnels", "open"): ((LEASE.address, "tcp:[::1]:0"), {"limit": 3}),
    ("tunnels", "list"): ((), {}),
    ("tunnels", "close"): (("0f" * 8,), {}),
}
