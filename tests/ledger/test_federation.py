"""The federation module under the real kernel: who may add a network, what no row may permit."""

from __future__ import annotations

import msgspec
import pytest
from cryptography import x509

from hypermesh.crypto.digest import digest_of
from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger import federation
from hypermesh.ledger.federation import Federation
from hypermesh.ledger.identity import Identity
from hypermesh.ledger.kernel import Kernel
from hypermesh.ledger.module import Event
from hypermesh.ledger.state import MemoryBase
from hypermesh.trustchain.certificate import (
    Authority,
    Validity,
    cross_certificate,
    issuing_certificate,
    node_certificate,
    serial_number,
)
from hypermesh.trustchain.federation import (
    POLICY_REACH,
    Introduction,
    IntroductionMalformed,
    check_partner,
    check_partnership,
    introduction,
    node_name,
    policies_of,
    zone,
)
from hypermesh.trustchain.verify import (
    CertificateExpired,
    CertificateForged,
    CertificateMalformed,
    IssuerUnknown,
    NameNotPermitted,
    NetworkMismatch,
    NodeRevoked,
)
from hypermesh.wire.block import Genesis
from hypermesh.wire.codec import encode
from hypermesh.wire.ids import GenesisId
from hypermesh.wire.tx import FederationAdd, FederationDrop, IdentityEnrol, PartnerService

from . import test_identity
from .test_identity import DAY_MS, DAY_S, OK, START_S, certificate_authorities, keypair
from .toys import START_MS, genesis

SERIAL = serial_number(b"c" * 19)
PERIOD = Validity(START_S - 300, START_S + 30 * DAY_S)
ASSETS = [PartnerService.ASSETS]


class Network(test_identity.Network):
    """The same with federation."""

    def __init__(self) -> None:
        super().__init__()
        module = Identity()
        self.document: Genesis = self.kernel.genesis
        self.kernel = Kernel(self.document, [module, Federation()], module)
        self.state = MemoryBase()
        self.state.take(self.kernel.begin(self.state))


class Other:
    """Another network: its genesis and its CA."""

    def __init__(self, name: str = "other") -> None:
        self.root, self.issuing = certificate_authorities()
        self.genesis = msgspec.structs.replace(
            genesis(),
            name=name,
            root_certificate=self.root.certificate,
            issuing_certificate=self.issuing.certificate,
        )
        self.id: GenesisId = digest_of("genesis", self.genesis)

    def leaf(self, keys: QuantumKeys, issuing: Authority | None = None) -> bytes:
        validity = Validity(START_S - 300, START_S + DAY_S)
        issuing = issuing or self.issuing
        return node_certificate(keys.public, bytes(32), self.id, issuing, validity, SERIAL)


@pytest.fixture(scope="module")
def other() -> Other:
    return Other()


@pytest.fixture(scope="module")
def keys() -> QuantumKeys:
    return QuantumKeys.generate()


@pytest.fixture
def network() -> Network:
    return Network()


def crossed(
    network: Network,
    other: Other,
    *,
    permitted: list[str] | None = None,
    excluded: list[str] | None = None,
    policies: list[x509.ObjectIdentifier] | None = None,
    period: Validity = PERIOD,
    root: Authority | None = None,
    subject: bytes | None = None,
) -> bytes:
    """A cross-certificate for `other`, unless a keyword makes it another one."""
    return cross_certificate(
        subject or other.issuing.certificate,
        root or network.root,
        [zone(other.id)] if permitted is None else permitted,
        excluded or [],
        policies_of(ASSETS) if policies is None else policies,
        period,
        SERIAL,
    )


def adding(
    network: Network,
    other: Other,
    cross: bytes | None = None,
    *,
    services: list[PartnerService] | None = None,
    not_after_ms: int = START_MS + 10 * DAY_MS,
) -> FederationAdd:
    return FederationAdd(
        encode(other.genesis),
        other.issuing.certificate,
        cross or crossed(network, other),
        ASSETS if services is None else services,
        not_after_ms,
        [],
    )


def test_the_founder_adds_and_drops(network: Network, other: Other) -> None:
    assert network.submit(network.founder, adding(network, other)) == OK
    assert network.events == [Event("federation.added", other.id, b"other", entry=1)]
    row = federation.partner(network.state, other.id)
    assert row is not None
    assert (row.permitted, row.excluded) == ([zone(other.id)], [])
    assert (row.services, row.by) == (ASSETS, network.founder.id)
    assert network.submit(network.founder, FederationDrop(other.id, "ended")) == OK
    assert federation.partner(network.state, other.id) is None
    assert list(federation.partners(network.state)) == []
    why = federation.dropped(network.state, other.id)
    assert why is not None
    assert (why.reason, why.by) == ("ended", network.founder.id)
    drop = FederationDrop(other.id, "again")
    assert network.submit(network.founder, drop) == "HM-TX-FED-0009"
    assert network.submit(network.founder, adding(network, other)) == OK
    assert federation.dropped(network.state, other.id) is None


def test_nobody_else_does(network: Network, other: Other) -> None:
    """Another owner, and a node of the founder itself."""
    owner, node = QuantumKeys.generate(), QuantumKeys.generate()
    assert network.own(owner) == OK
    assert network.submit(owner, adding(network, other)) == "HM-TX-FED-0001"
    assert network.submit(node, IdentityEnrol(network.certificate(node, network.founder))) == OK
    assert network.submit(node, adding(network, other)) == "HM-TX-FED-0001"
    assert network.submit(node, FederationDrop(other.id, "no")) == "HM-TX-FED-0001"
    assert federation.partner(network.state, other.id) is None


def test_what_is_agreed_is_changed_by_adding_again(network: Network, other: Other) -> None:
    assert network.submit(network.founder, adding(network, other)) == OK
    less = crossed(
        network, other, permitted=[f"{'ab' * 8}.{zone(other.id)}"], policies=[POLICY_REACH]
    )
    assert network.submit(network.founder, adding(network, other, less, services=[])) == OK
    row = federation.partner(network.state, other.id)
    assert row is not None
    assert (row.permitted, row.services) == ([f"{'ab' * 8}.{zone(other.id)}"], [])


def test_a_row_permits_no_more_than_its_certificate(network: Network, other: Other) -> None:
    def code(cross: bytes, **terms: object) -> str:
        return network.submit(network.founder, adding(network, other, cross, **terms))  # type: ignore[arg-type]

    theirs = Network()
    cross = crossed(network, other)
    flipped = bytearray(cross)
    flipped[-1] ^= 1
    inside = bytearray(cross)
    inside[len(cross) // 2] ^= 1
    refused = {
        "by another root": crossed(network, other, root=theirs.root),
        "by its own root": crossed(network, other, root=other.root),
        "for another CA": crossed(network, other, subject=theirs.issuing.certificate),
        "for our own CA": crossed(network, other, subject=network.issuing.certificate),
        "the partner's root": crossed(network, other, subject=other.root.certificate),
        "outer signature": bytes(flipped),
        "within": bytes(inside),
        "is over": crossed(network, other, period=Validity(START_S - 900, START_S - 300)),
        "is not yet": crossed(network, other, period=Validity(START_S + 300, START_S + 900)),
        "the CA itself": other.issuing.certificate,
        "no names at all": crossed(network, other, permitted=[], excluded=[zone(other.id)]),
    }
    assert {what: code(each) for what, each in refused.items()} == dict.fromkeys(
        refused, "HM-TX-FED-0004"
    )
    widened = [
        ["hm.internal"],
        [zone(network.id)],
        [f"x{zone(other.id)}"],
        [zone(other.id), "example.org"],
        [zone(other.id).upper()],
    ]
    for names in widened:
        assert code(crossed(network, other, permitted=names)) == "HM-TX-FED-0005", names
    assert code(crossed(network, other, policies=[POLICY_REACH])) == "HM-TX-FED-0006"
    assert code(crossed(network, other, policies=policies_of(ASSETS)[1:])) == "HM-TX-FED-0006"
    end = PERIOD.not_after_s * 1000
    assert code(cross, not_after_ms=end + 1) == "HM-TX-FED-0007"
    assert code(cross, not_after_ms=START_MS) == "HM-TX-FED-0007"
    assert federation.partner(network.state, other.id) is None
    assert code(cross, not_after_ms=end) == OK


def test_documents_that_are_none_and_the_own_network(network: Network, other: Other) -> None:
    broken = msgspec.structs.replace(adding(network, other), document=b"\x91\x01")
    assert network.submit(network.founder, broken) == "HM-TX-FED-0002"
    own = msgspec.structs.replace(adding(network, other), document=encode(network.document))
    assert network.submit(network.founder, own) == "HM-TX-FED-0003"
    # The same CA under another document: its zone is another, and the certificate is not for it.
    copy = Other("copy")
    copy.genesis = msgspec.structs.replace(other.genesis, name="copy")
    copied = msgspec.structs.replace(adding(network, other), document=encode(copy.genesis))
    assert network.submit(network.founder, copied) == "HM-TX-FED-0005"


def test_another_issuing_ca_below_the_same_root_takes_its_place(
    network: Network, other: Other
) -> None:
    """As after a compromise; one of a stranger's root is none."""
    stranger, later = Other("stranger"), keypair()
    another = issuing_certificate(later, other.root, "t", PERIOD, SERIAL)
    assert network.submit(network.founder, adding(network, other)) == OK
    for issuing, code in ((another, OK), (stranger.issuing.certificate, "HM-TX-FED-0004")):
        cross = crossed(network, other, subject=issuing)
        body = msgspec.structs.replace(adding(network, other, cross), issuing=issuing)
        assert network.submit(network.founder, body) == code
    row = federation.partner(network.state, other.id)
    assert row is not None
    assert row.issuing == another


def test_the_list_is_bounded(
    network: Network, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(federation, "PARTNERS_MAX", 1)
    assert network.submit(network.founder, adding(network, Other("first"))) == OK
    assert network.submit(network.founder, adding(network, other)) == "HM-TX-FED-0008"
    (first,) = [each for each, _ in federation.partners(network.state)]
    assert network.submit(network.founder, FederationDrop(first, "room")) == OK
    assert network.submit(network.founder, adding(network, other)) == OK
    assert network.submit(network.founder, adding(network, other)) == OK


class TestChains:
    """A partner's node, from its leaf to the own root, as STOQ and the replay judge it."""

    def check(
        self, network: Network, other: Other, chain: list[bytes], cross: bytes, **how: object
    ) -> bytes:
        partner = federation.Partnership(
            other.id,
            other.root.certificate,
            other.issuing.certificate,
            cross,
            START_S + 10 * DAY_S,
        )
        roots = [network.root.certificate]
        how = {"now_s": START_S} | how
        return check_partner(chain, network.id, roots, [partner], **how).id  # type: ignore[arg-type]

    def test_it_is_believed_with_and_without_what_is_above(
        self, network: Network, other: Other, keys: QuantumKeys
    ) -> None:
        leaf, cross = other.leaf(keys), crossed(network, other)
        above = [other.issuing.certificate, other.root.certificate]
        for length in range(3):
            assert self.check(network, other, [leaf, *above[:length]], cross) == keys.id

    def test_names_that_are_not_permitted_are_refused(
        self, network: Network, other: Other, keys: QuantumKeys
    ) -> None:
        leaf, name = other.leaf(keys), node_name(keys.id, other.id)
        one = crossed(network, other, permitted=[name])
        assert self.check(network, other, [leaf], one) == keys.id
        for cross in (
            crossed(network, other, permitted=[f"{'00' * 8}.{zone(other.id)}"]),
            crossed(network, other, excluded=[name]),
        ):
            with pytest.raises(NameNotPermitted, match=name):
                self.check(network, other, [leaf], cross)

    def test_everything_else_is_refused_by_its_name(
        self, network: Network, other: Other, keys: QuantumKeys
    ) -> None:
        leaf, cross = other.leaf(keys), crossed(network, other)
        with pytest.raises(NodeRevoked):
            self.check(network, other, [leaf], cross, revoked=frozenset({keys.id}))
        for late in (START_S + 2 * DAY_S, START_S + 11 * DAY_S):
            with pytest.raises(CertificateExpired):
                self.check(network, other, [leaf], cross, now_s=late)
        with pytest.raises(IssuerUnknown):
            self.check(network, other, [leaf, network.issuing.certificate], cross)
        with pytest.raises(CertificateMalformed):
            self.check(network, other, [leaf, leaf, leaf, leaf], cross)
        own = network.certificate(keys, network.founder)
        with pytest.raises(NetworkMismatch):
            self.check(network, other, [own], cross)
        impostor = Authority(other.issuing.certificate, certificate_authorities()[1].keys)
        with pytest.raises((CertificateForged, IssuerUnknown)):
            self.check(network, other, [other.leaf(keys, impostor)], cross)

    @pytest.mark.parametrize("half", ["outer", "inner"])
    def test_both_signatures_count(
        self, network: Network, other: Other, keys: QuantumKeys, half: str
    ) -> None:
        """Planted: a cross-certificate of which one half is by a stranger's key."""
        stranger = certificate_authorities()[0].keys
        mixed = (
            type(stranger)(network.root.keys.outer, stranger.inner)
            if half == "inner"
            else type(stranger)(stranger.outer, network.root.keys.inner)
        )
        cross = crossed(network, other, root=Authority(network.root.certificate, mixed))
        with pytest.raises((CertificateForged, IssuerUnknown)):
            self.check(network, other, [other.leaf(keys)], cross)

    def test_the_reach_is_what_was_written(self, network: Network, other: Other) -> None:
        name = f"{'ab' * 8}.{zone(other.id)}"
        cross = crossed(network, other, excluded=[name])
        partner = federation.Partnership(
            other.id, other.root.certificate, other.issuing.certificate, cross, 2**40
        )
        reach = check_partnership(network.root.certificate, partner, now_s=START_S)
        assert (reach.permitted, reach.excluded) == ((zone(other.id),), (name,))
        assert (reach.not_before_s, reach.not_after_s) == (PERIOD.not_before_s, PERIOD.not_after_s)
        assert reach.services == {PartnerService.ASSETS}
        assert reach.permits(zone(other.id))
        assert not reach.permits(name)
        assert not reach.permits("hm.internal")


def test_an_introduction_is_read_as_it_was_written(other: Other) -> None:
    made = Introduction(1, encode(other.genesis), other.issuing.certificate, [])
    assert introduction(str(made)) == made
    assert introduction(f"\n{made}\n").network == other.id
    text = str(made)
    for wrong in ("", text[10:], text.replace("A", "!", 1), text[: len(text) // 2], "x" * 200_000):
        with pytest.raises(IntroductionMalformed):
            introduction(wrong)
    with pytest.raises(IntroductionMalformed):
        introduction(str(Introduction(1, b"\x01", b"x", [])))
