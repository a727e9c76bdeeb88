"""Enrolment and renewal, both sides, with every way to get it wrong."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.crypto.keystore import KeyStore
from hypermesh.trustchain.ca.authority import (
    NODE_LIFETIME_S,
    RENEWAL_S,
    CertificateAuthority,
    NodeOwned,
    NodeUnknown,
    RenewalTooLate,
)
from hypermesh.trustchain.ca.invitations import (
    KEPT_S,
    OPEN_MAX,
    Invitations,
    InvitationsFull,
    InvitationUnknown,
    InvitationUsed,
)
from hypermesh.trustchain.enrolment import (
    ConsentMissing,
    Enrolment,
    OwnerConflict,
    ProofRefused,
    ResponseRefused,
    check_request,
    check_response,
    enrol_request,
    renewal_request,
)
from hypermesh.trustchain.invitation import LIFETIME_S, Invitation, InvitationExpired
from hypermesh.trustchain.verify import CertificateExpired, NodeRevoked, fingerprint
from hypermesh.wire.codec import decode, encode
from hypermesh.wire.ids import Hash, NodeId
from hypermesh.wire.rpc import EnrolRequest, EnrolResponse

from .samples import LOCATOR, NOW, genesis_of

CHANNEL = b"\x01" * 32
OTHER_CHANNEL = b"\x02" * 32


@dataclass
class Network:
    """A founded network as its certificate authority's node has it."""

    directory: Path
    founder: QuantumKeys
    authority: CertificateAuthority
    invitations: Invitations

    def __post_init__(self) -> None:
        self.genesis = genesis_of(
            self.authority.root, self.authority.issuing, self.founder.public, self.founder.public
        )
        self.id = digest_of("genesis", self.genesis)
        self.root_sha256 = fingerprint(self.authority.root)
        self.enrolment = Enrolment(self.authority, self.invitations, self.genesis)

    def invite(self, *, mine: bool = False, now_s: int = NOW) -> Invitation:
        new = self.invitations.create(self.founder.id if mine else None, now_s)
        return Invitation(2, self.id, self.root_sha256, new.secret, new.expires_s, mine, [LOCATOR])

    def enrol(
        self,
        request: EnrolRequest,
        *,
        channel: Hash = CHANNEL,
        peer: NodeId | None = None,
        revoked: frozenset[NodeId] = frozenset(),
        now_s: int = NOW,
    ) -> EnrolResponse:
        return self.enrolment.enrol(
            travelled(request),
            channel=channel,
            peer=node_id(request) if peer is None else peer,
            revoked=revoked,
            locators=[LOCATOR],
            now_s=now_s,
        )

    def renew(
        self,
        node: QuantumKeys,
        *,
        channel: Hash = CHANNEL,
        revoked: frozenset[NodeId] = frozenset(),
        now_s: int,
    ) -> EnrolResponse:
        return self.enrolment.renew(
            travelled(renewal_request(self.id, channel, node)),
            channel=channel,
            peer=node.id,
            revoked=revoked,
            locators=[],
            now_s=now_s,
        )


def travelled(request: EnrolRequest) -> EnrolRequest:
    return decode(EnrolRequest, encode(request))


def node_id(request: EnrolRequest) -> NodeId:
    return digest_of("keys", request.node)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantumKeys]:
    directory = tmp_path_factory.mktemp("network")
    CertificateAuthority.found(directory, KeyStore(directory / "keys"), "test", NOW).close()
    return directory, QuantumKeys.generate()


@pytest.fixture
def network(founded: tuple[Path, QuantumKeys], tmp_path: Path) -> Iterator[Network]:
    directory, founder = founded
    authority = CertificateAuthority.open(directory, KeyStore(directory / "keys"))
    invitations = Invitations(tmp_path)
    yield Network(tmp_path, founder, authority, invitations)
    invitations.close()
    authority.close()


@pytest.fixture
def node() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="module")
def owner() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture(scope="module")
def stranger() -> QuantumKeys:
    return QuantumKeys.generate()


def test_a_machine_joins_with_its_owner(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    invitation = network.invite()
    response = network.enrol(enrol_request(invitation, CHANNEL, node, owner))
    certified = check_response(
        decode(EnrolResponse, encode(response)),
        genesis=invitation.genesis,
        root_sha256=invitation.root_sha256,
        node=node.public,
        owner=owner.id,
        now_s=NOW,
    )
    assert (certified.id, certified.owner) == (node.id, owner.id)
    assert response.locators == [LOCATOR]


def test_a_machine_of_the_issuer_joins_without_an_owner(
    network: Network, node: QuantumKeys
) -> None:
    invitation = network.invite(mine=True)
    response = network.enrol(enrol_request(invitation, CHANNEL, node, None))
    assert response.owner == network.founder.id


def test_the_invitation_decides_who_names_the_owner(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    for invitation, brought in ((network.invite(mine=True), owner), (network.invite(), None)):
        with pytest.raises(OwnerConflict):
            network.enrol(enrol_request(invitation, CHANNEL, node, brought))
    # Nothing was used up: the right request still works.
    network.enrol(enrol_request(invitation, CHANNEL, node, owner))


def test_a_lost_answer_is_asked_for_again_on_another_connection(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    invitation = network.invite()
    first = network.enrol(enrol_request(invitation, CHANNEL, node, owner))
    again = enrol_request(invitation, OTHER_CHANNEL, node, owner)
    late = NOW + LIFETIME_S + 60
    assert network.enrol(again, channel=OTHER_CHANNEL, now_s=late).chain == first.chain


def test_the_answer_survives_a_kill_between_any_two_steps(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    """The invitation is bound, the process dies, and another process answers the same request."""
    invitation = network.invite()
    request = enrol_request(invitation, CHANNEL, node, owner)
    certify = network.authority.certify
    network.authority.certify = _killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        network.enrol(request)
    network.invitations.close()
    network.authority.certify = certify  # type: ignore[method-assign]
    restarted = Network(
        network.directory, network.founder, network.authority, Invitations(network.directory)
    )
    thief = QuantumKeys.generate()
    with pytest.raises(InvitationUsed):
        restarted.enrol(enrol_request(invitation, CHANNEL, thief, owner))
    assert restarted.enrol(request).owner == owner.id
    restarted.invitations.close()


def _killed(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_an_invitation_is_good_for_one_machine(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    invitation = network.invite()
    network.enrol(enrol_request(invitation, CHANNEL, node, owner))
    with pytest.raises(InvitationUsed):
        network.enrol(enrol_request(invitation, CHANNEL, stranger, owner))
    with pytest.raises(InvitationUsed):
        network.enrol(enrol_request(invitation, CHANNEL, node, stranger))


def test_of_two_requests_at_once_one_wins(network: Network) -> None:
    """In two processes, as far as SQLite can tell."""
    secret = network.invite().secret
    other = Invitations(network.directory)
    requests = [bytes([number]) * 32 for number in range(8)]

    def bind(number: int) -> bool:
        store = (network.invitations, other)[number % 2]
        try:
            store.bind(secret, requests[number], NOW)
        except InvitationUsed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(bind, range(8))) == 1
    other.close()


def test_a_request_seen_on_the_wire_is_worth_nothing(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    seen = enrol_request(network.invite(), CHANNEL, node, owner)
    with pytest.raises(ProofRefused, match="another connection"):
        network.enrol(seen, channel=OTHER_CHANNEL)
    with pytest.raises(ProofRefused, match="other keys"):
        network.enrol(seen, peer=stranger.id)
    moved = msgspec.structs.replace(seen, channel=OTHER_CHANNEL)
    with pytest.raises(ProofRefused, match=r"FALCON-1024 and Ed25519"):
        network.enrol(moved, channel=OTHER_CHANNEL)


def test_both_halves_of_both_proofs_must_hold(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    right = enrol_request(network.invite(), CHANNEL, node, owner)
    wrong = enrol_request(network.invite(), CHANNEL, node, owner)
    assert right.owner_consent is not None
    assert wrong.owner_consent is not None
    for half in ("falcon", "ed25519"):
        proof = msgspec.structs.replace(right.proof, **{half: getattr(wrong.proof, half)})
        with pytest.raises(ProofRefused):
            network.enrol(msgspec.structs.replace(right, proof=proof))
        consent = msgspec.structs.replace(
            right.owner_consent, **{half: getattr(wrong.owner_consent, half)}
        )
        with pytest.raises(ConsentMissing):
            network.enrol(msgspec.structs.replace(right, owner_consent=consent))
    network.enrol(right)


def test_an_owner_must_consent_to_this_node(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    invitation = network.invite()
    request = enrol_request(invitation, CHANNEL, node, owner)
    for_another = enrol_request(invitation, CHANNEL, stranger, owner)
    by_another = enrol_request(invitation, CHANNEL, node, stranger)
    for consent in (None, for_another.owner_consent, by_another.owner_consent, by_another.proof):
        with pytest.raises(ConsentMissing):
            network.enrol(msgspec.structs.replace(request, owner_consent=consent))
    without = enrol_request(invitation, CHANNEL, node, None)
    with pytest.raises(ConsentMissing):
        network.enrol(msgspec.structs.replace(without, owner_consent=request.owner_consent))
    with pytest.raises(ProofRefused, match="its own owner"):
        network.enrol(enrol_request(invitation, CHANNEL, node, node))


def test_a_proof_is_for_one_network(network: Network, node: QuantumKeys) -> None:
    elsewhere = msgspec.structs.replace(network.invite(mine=True), genesis=bytes(32))
    with pytest.raises(ProofRefused):
        check_request(
            enrol_request(elsewhere, CHANNEL, node, None),
            network.id,
            channel=CHANNEL,
            peer=node.id,
        )


def test_invitations_end(network: Network, node: QuantumKeys, owner: QuantumKeys) -> None:
    request = enrol_request(network.invite(), CHANNEL, node, owner)
    with pytest.raises(InvitationExpired):
        network.enrol(request, now_s=NOW + LIFETIME_S + 1)
    network.enrol(request, now_s=NOW + LIFETIME_S)


def test_an_unknown_secret(network: Network, node: QuantumKeys, owner: QuantumKeys) -> None:
    invitation = msgspec.structs.replace(network.invite(), secret=bytes(16))
    with pytest.raises(InvitationUnknown):
        network.enrol(enrol_request(invitation, CHANNEL, node, owner))
    with pytest.raises(InvitationUnknown):
        network.enrol(renewal_request(network.id, CHANNEL, node))


def test_open_invitations_are_bounded_and_old_ones_are_forgotten(network: Network) -> None:
    first = network.invite()
    for _ in range(OPEN_MAX - 1):
        network.invite()
    with pytest.raises(InvitationsFull):
        network.invite()
    network.invitations.bind(first.secret, bytes(32), NOW)
    network.invite()
    network.invite(now_s=NOW + LIFETIME_S + 1)
    network.invite(now_s=NOW + LIFETIME_S + KEPT_S + 1)
    with pytest.raises(InvitationUnknown):
        network.invitations.bind(first.secret, bytes(32), NOW)


def test_secrets_are_not_stored(network: Network) -> None:
    secret = network.invite().secret
    network.invitations.close()
    stored = b"".join(file.read_bytes() for file in network.directory.glob("invitations.sqlite*"))
    assert secret not in stored


def test_a_revoked_node_gets_nothing(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    revoked = frozenset({node.id})
    invitation = network.invite()
    with pytest.raises(NodeRevoked):
        network.enrol(enrol_request(invitation, CHANNEL, node, owner), revoked=revoked)
    network.enrol(enrol_request(invitation, CHANNEL, node, owner))
    with pytest.raises(NodeRevoked):
        network.renew(node, revoked=revoked, now_s=NOW + NODE_LIFETIME_S)


def test_a_node_cannot_change_its_owner_by_joining_again(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    network.enrol(enrol_request(network.invite(), CHANNEL, node, owner))
    with pytest.raises(NodeOwned):
        network.enrol(enrol_request(network.invite(), CHANNEL, node, stranger))


def test_renewal_by_node_keys(network: Network, node: QuantumKeys, owner: QuantumKeys) -> None:
    network.enrol(enrol_request(network.invite(), CHANNEL, node, owner))
    end = NOW + NODE_LIFETIME_S
    for now_s in (NOW + NODE_LIFETIME_S // 2, end + RENEWAL_S):
        response = network.renew(node, now_s=now_s)
        certified = check_response(
            response,
            genesis=network.id,
            root_sha256=network.root_sha256,
            node=node.public,
            owner=owner.id,
            now_s=now_s,
        )
        assert certified.not_after_s == now_s + NODE_LIFETIME_S


def test_renewal_ends_thirty_days_after_the_certificate(
    network: Network, node: QuantumKeys, owner: QuantumKeys
) -> None:
    network.enrol(enrol_request(network.invite(), CHANNEL, node, owner))
    with pytest.raises(RenewalTooLate):
        network.renew(node, now_s=NOW + NODE_LIFETIME_S + RENEWAL_S + 1)


def test_renewal_needs_the_node_and_takes_nothing_else(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    network.enrol(enrol_request(network.invite(), CHANNEL, node, owner))
    with pytest.raises(NodeUnknown):
        network.renew(stranger, now_s=NOW)
    seen = renewal_request(network.id, CHANNEL, node)

    def renew(request: EnrolRequest, channel: Hash = CHANNEL, peer: NodeId = node.id) -> None:
        network.enrolment.renew(
            request, channel=channel, peer=peer, revoked=frozenset(), locators=[], now_s=NOW
        )

    with pytest.raises(ProofRefused):
        renew(seen, channel=OTHER_CHANNEL)
    with pytest.raises(ProofRefused):
        renew(seen, peer=stranger.id)
    with pytest.raises(OwnerConflict):
        renew(enrol_request(network.invite(), CHANNEL, node, owner))


def test_an_answer_for_somebody_else_is_not_believed(
    network: Network, node: QuantumKeys, owner: QuantumKeys, stranger: QuantumKeys
) -> None:
    right = network.enrol(enrol_request(network.invite(), CHANNEL, node, owner))
    other = network.enrol(enrol_request(network.invite(), CHANNEL, stranger, owner))
    replace = msgspec.structs.replace
    wrong = [
        (replace(right, chain=other.chain), "other keys"),
        (replace(right, owner=stranger.id), "another owner"),
        (replace(right, chain=right.chain[:1] * 3), "not the one in genesis"),
        (replace(right, genesis=replace(right.genesis, name="x")), "another network"),
    ]

    def check(response: EnrolResponse, owner_id: bytes | None, root: bytes, now_s: int) -> None:
        check_response(
            response,
            genesis=network.id,
            root_sha256=root,
            node=node.public,
            owner=owner_id,
            now_s=now_s,
        )

    for response, says in wrong:
        with pytest.raises(ResponseRefused, match=says):
            check(response, owner.id, network.root_sha256, NOW)
    with pytest.raises(ResponseRefused, match="another owner"):
        check(right, stranger.id, network.root_sha256, NOW)
    with pytest.raises(ResponseRefused, match="not the one in genesis"):
        check(right, owner.id, bytes(32), NOW)
    with pytest.raises(CertificateExpired):
        check(right, owner.id, network.root_sha256, NOW + NODE_LIFETIME_S + 1)
    check(right, None, network.root_sha256, NOW)
