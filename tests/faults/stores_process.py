"""The life of a node's stores beside the ledger, under the recorder: settings, keys, founding, the
CA with its invitations, membership, hosted assets, locators, sessions, answers, the API token.

    python -m tests.faults.stores_process ORDER DIRECTORY LOG

Every step is one that a node makes, by the node's own code. Every life begins as a node does, and
goes on where the one before ended.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from hypermesh.assets import provider
from hypermesh.assets.hosting import Hosted, HostedAssets
from hypermesh.crypto.digest import digest, digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.node import configuration, lifecycle
from hypermesh.node.api.answers import Answer, Answers
from hypermesh.node.borrowing import Sessions
from hypermesh.node.founding import found
from hypermesh.node.locators import Locators
from hypermesh.node.membership import NODE_SECRET, OWNER_SECRET, Membership
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.trustchain.ca.invitations import Invitations
from hypermesh.trustchain.verify import fingerprint as certificate_sha256
from hypermesh.wire.asset import AssetKind, Audience, Descriptor, Enforcement, Price, PrivacyLevel

from .holdings import fingerprint, held, settings
from .plants import NOT_SETTLED, SYNCS, forget_to_settle, without_syncs_of
from .promises import ANY
from .workloads import Death, Scribe, under_the_recorder

DAY_S = 24 * 60 * 60
FOUNDED = ("genesis", "certificate", "seeds")
LOGS = (
    *(f"ct-1-certificates-{kind}" for kind in ("ed25519", "falcon", "p256")),
    *(f"ct-1-acts-{kind}" for kind in ("ed25519", "falcon")),
)
SECRETS = (NODE_SECRET, OWNER_SECRET, "ca-root", "ca-issuing", *LOGS)


class Order(msgspec.Struct, frozen=True):
    """What to do in one life: rounds `first` to `last`. `now_s` is what clocks show at first."""

    now_s: int
    first: int
    last: int
    plant: str
    death: Death | None


class Life:
    """One node process, as far as its stores go."""

    def __init__(self, order: Order, data: Path, scribe: Scribe) -> None:
        self._order = order
        self._data = data
        self._scribe = scribe
        self._own = secrets.token_hex(4)
        configuration.prepare(data)
        self._membership = Membership.open(data) or self._found()
        keys = self._membership.store
        self._authority = CertificateAuthority.open(data, keys)
        self._invitations = Invitations(data)
        self._hosted = HostedAssets(data / "hosted")
        self._locators = Locators(data / "locators", self._membership.genesis_id)
        self._sessions = Sessions(data / "sessions")
        self._answers = Answers(data / lifecycle.ANSWERS_FILE)

    def run(self) -> None:
        self._scribe.begin("token", ANY)
        self._scribe.done("token", lifecycle._token(self._data / lifecycle.TOKEN_FILE))
        for number in range(self._order.first, self._order.last):
            self._settings(number)
            self._join(number)
            self._renew(number)
            self._host(number)
            self._locate(number)
            self._borrow(number)
            self._answer(number)

    def _found(self) -> Membership:
        known = (*FOUNDED, *(f"secret {name}" for name in SECRETS))
        for key in (*known, ANY):
            self._scribe.begin(key, ANY)
        membership = found(self._data, "alice-net", self._order.now_s * 1000)
        holds = held(self._data)
        # An earlier life may have died founding, and left its certificate.
        for key in (*known, *(key for key in holds if key.startswith("issued "))):
            self._scribe.done(key, holds[key])
        return membership

    def _settings(self, number: int) -> None:
        """The port that STOQ listens on, chosen anew at each start."""
        self._scribe.begin("settings", str(5000 + number))
        settings(self._data).keep(5000 + number)
        self._scribe.done("settings", str(5000 + number))

    def _join(self, number: int) -> None:
        """Another machine joins: an invitation, its use, a certificate; all asked for twice."""
        self._scribe.begin(ANY, ANY)
        invitation = self._invitations.create(None, self._order.now_s)
        key = f"invitation {fingerprint(digest('invitation-secret', invitation.secret))}"
        self._scribe.done(key, "open")
        keys = QuantumKeys.generate()
        request = digest("test-request", keys.id)
        for _ in range(2):
            self._scribe.begin(key, fingerprint(request))
            self._invitations.bind(invitation.secret, request, self._order.now_s)
            self._scribe.done(key, fingerprint(request))
        order = CertificateOrder(request, self._membership.genesis_id, keys.public, keys.id)
        for _ in range(2):
            self._scribe.begin(f"issued {fingerprint(request)}", ANY)
            issued = self._authority.certify(order, self._order.now_s)
            self._scribe.done(f"issued {fingerprint(request)}", fingerprint(issued.certificate))
        name, secret = f"spare-{number}", keys.secret_bytes()
        if name not in self._membership.store:
            self._scribe.begin(f"secret {name}", fingerprint(secret))
            self._membership.store.put(name, secret)
            self._scribe.done(f"secret {name}", fingerprint(secret))

    def _renew(self, number: int) -> None:
        """Half a day later the node's own certificate is renewed."""
        membership = self._membership
        now_s = self._order.now_s + (number + 1) * DAY_S // 2
        latest = self._authority.latest(membership.keys.id)
        assert latest is not None
        request = digest_of("certificate-renewal", certificate_sha256(latest.certificate))
        self._scribe.begin(f"issued {fingerprint(request)}", ANY)
        issued = self._authority.renew(membership.keys.public, membership.genesis_id, now_s)
        if issued != latest:
            self._scribe.done(f"issued {fingerprint(request)}", fingerprint(issued.certificate))
        self._scribe.begin("certificate", fingerprint(issued.certificate))
        membership.renewed(self._authority.chain(issued), now_s)
        self._scribe.done("certificate", fingerprint(issued.certificate))

    def _host(self, number: int) -> None:
        """An asset is declared; the one declared before gets another price."""
        for each, price in ((number, 10), (number - 1, 20)):
            if each < 0:
                continue
            record = hosted(self._membership.owner, each, price)
            key, value = f"hosted {record.asset.hex()}", fingerprint(digest_of("test", record))
            self._scribe.begin(key, value)
            self._hosted.put(record)
            self._scribe.done(key, value)

    def _locate(self, number: int) -> None:
        """The node publishes its place, with a sequence above every earlier one."""
        keys = self._membership.keys
        sequence = self._order.now_s * 1000 + number
        self._scribe.begin(f"locator {keys.id.hex()}", ANY)
        signed = self._locators.sign_own(keys, "alice", ["::1"], 4433, sequence)
        self._scribe.done(f"locator {keys.id.hex()}", str(signed.locator.sequence))

    def _borrow(self, number: int) -> None:
        """The keys of a lease's session are kept; those of the lease before go."""
        lease = digest("test-lease", number.to_bytes(4, "big"))
        keys = QuantumKeys.generate()
        self._scribe.begin(f"session {lease.hex()}", keys.id.hex())
        self._sessions.put(lease, keys)
        self._scribe.done(f"session {lease.hex()}", keys.id.hex())
        before = digest("test-lease", (number - 1).to_bytes(4, "big", signed=True))
        if self._sessions.get(before) is not None:
            self._scribe.begin(f"session {before.hex()}", None)
            self._sessions.drop(before)
            self._scribe.done(f"session {before.hex()}", None)

    def _answer(self, number: int) -> None:
        """A write with an idempotency key, begun and answered."""
        key, request, now_ms = f"{self._own}-{number}", b"request", self._order.now_s * 1000
        answer = Answer(200, [(b"content-type", b"text/plain")], b"done %d" % number)
        self._scribe.begin(f"answer {key}", "none yet")
        self._answers.begin("owner", key, request, now_ms)
        self._scribe.done(f"answer {key}", "none yet")
        kept = fingerprint(msgspec.msgpack.encode(answer))
        self._scribe.begin(f"answer {key}", kept)
        self._answers.finish("owner", key, answer)
        self._scribe.done(f"answer {key}", kept)


def hosted(owner: bytes, number: int, price: int) -> Hosted:
    return provider.hosted(
        owner,
        Descriptor(AssetKind.MEMORY, 1 << 20, Enforcement.ALLOCATION, []),
        Price(price, 1024, 1000),
        level=PrivacyLevel.P2P,
        audience=Audience(nodes=[b"n" * 32]),
        concurrent_max=4,
        duration_ms_max=1000,
        randomness=bytes([number]) * 48,
    )


def live(order: Order, data: Path, scribe: Scribe) -> None:
    if order.plant == NOT_SETTLED:
        forget_to_settle()
    elif order.plant:
        without_syncs_of(SYNCS[order.plant])
    Life(order, data, scribe).run()


if __name__ == "__main__":
    under_the_recorder(Order, live)
