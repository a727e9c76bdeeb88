"""Another issuing CA in the place of one: who may say so, and what is still believed then."""

from __future__ import annotations

import msgspec
import pytest

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger import identity
from hypermesh.ledger.identity import EXPIRY_GRACE_MS
from hypermesh.ledger.module import Event
from hypermesh.trustchain.certificate import (
    Authority,
    Validity,
    issuing_certificate,
    serial_number,
)
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.codec import Undecodable, decode, encode
from hypermesh.wire.tx import (
    ISSUER_GRACE_MS_MAX,
    BankFaucet,
    Body,
    IdentityEnrol,
    IdentityReplaceIssuer,
)

from .test_identity import ALLOWED, DAY_S, OK, START_MS, START_S, Network, keypair

GRACE_MS = 60_000
FORBIDDEN, REFUSED, REPLACED = "HM-TX-ID-0014", "HM-TX-ID-0015", "HM-TX-ID-0016"


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture(scope="module")
def node() -> QuantumKeys:
    return QuantumKeys.generate()


def another(network: Network, *, root: Authority | None = None, to_s: int = DAY_S) -> Authority:
    """An issuing CA below the network's root, or below `root`."""
    keys = keypair()
    validity = Validity(START_S - 300, START_S + to_s)
    serial = serial_number(b"j" * 19)
    return Authority(issuing_certificate(keys, root or network.root, "t", validity, serial), keys)


def replacing(issuing: Authority, grace_ms: int = GRACE_MS) -> IdentityReplaceIssuer:
    return IdentityReplaceIssuer(issuing.certificate, grace_ms, "stolen")


def believed(network: Network, time_ms: int) -> tuple[bytes, ...]:
    return identity.issuers(network.state, time_ms).certificates


def test_the_founder_replaces_the_issuer(network: Network, node: QuantumKeys) -> None:
    first, second = network.issuing, another(network)
    assert identity.issuer(network.state) == first.certificate
    assert identity.issuers(network.state, START_MS) == ((first.certificate,), None)
    assert network.enrol(node, network.founder) == OK

    assert network.submit(network.founder, replacing(second)) == OK
    told = Event("identity.issuer_replaced", fingerprint(second.certificate), b"stolen", entry=1)
    assert network.events == [told]
    assert identity.issuer(network.state) == second.certificate
    assert all(identity.is_issuer(network.state, each.certificate) for each in (first, second))

    # Connections by the one before are believed until the grace is over.
    both = (second.certificate, first.certificate)
    end = START_MS + GRACE_MS
    assert identity.issuers(network.state, end) == (both, end)
    assert identity.issuers(network.state, end + 1) == (both[:1], None)
    assert identity.is_issuer_believed(network.state, node.id, end)
    assert not identity.is_issuer_believed(network.state, node.id, end + 1)


def test_the_one_before_enrols_nobody_at_once(network: Network, node: QuantumKeys) -> None:
    forged = IdentityEnrol(network.certificate(node, network.founder))
    assert network.submit(network.founder, replacing(another(network))) == OK
    assert network.submit(node, forged) == "HM-TX-ID-0005"
    assert identity.node(network.state, node.id) is None
    assert not identity.is_issuer_believed(network.state, node.id, START_MS)


def test_after_the_grace_a_node_signs_by_its_new_certificate_alone(
    network: Network, node: QuantumKeys
) -> None:
    second = another(network)
    assert network.enrol(node, network.founder) == OK
    assert network.submit(network.founder, replacing(second)) == OK
    # What it signed in time may be on its way, as with a certificate that ended.
    end = START_MS + GRACE_MS + EXPIRY_GRACE_MS
    assert network.submit(node, BankFaucet(), time_ms=end) == ALLOWED
    assert network.submit(node, BankFaucet(), time_ms=end + 1) == REPLACED
    # The new one may end in the same second as the one before, and is the later one all the same.
    fresh = network.certificate(node, network.founder, issuing=second)
    assert network.submit(node, IdentityEnrol(fresh), time_ms=end + 1) == OK
    assert network.submit(node, BankFaucet(), time_ms=end + 2) == ALLOWED
    assert identity.is_issuer_believed(network.state, node.id, end + 2)


def test_a_second_replacement_ends_all_before(network: Network, node: QuantumKeys) -> None:
    second, third = another(network), another(network)
    assert network.enrol(node, network.founder) == OK
    assert network.submit(network.founder, replacing(second, ISSUER_GRACE_MS_MAX)) == OK
    assert believed(network, START_MS) == (second.certificate, network.issuing.certificate)
    assert network.submit(network.founder, replacing(third, 0), time_ms=START_MS + 1000) == OK
    assert len(believed(network, START_MS + 1000)) == 3
    assert believed(network, START_MS + 1001) == (third.certificate,)
    assert not identity.is_issuer_believed(network.state, node.id, START_MS + 1001)


def test_nobody_but_the_founder_replaces_it(network: Network, node: QuantumKeys) -> None:
    stranger = QuantumKeys.generate()
    network.own(stranger)
    network.enrol(node, network.founder)
    for signer in (stranger, node):
        assert network.submit(signer, replacing(another(network))) == FORBIDDEN
    assert identity.issuer(network.state) == network.issuing.certificate


def test_only_a_new_authority_below_the_root_takes_its_place(
    network: Network, node: QuantumKeys
) -> None:
    second = another(network)
    assert network.submit(network.founder, replacing(second)) == OK
    elsewhere = Network()
    stolen = Authority(network.root.certificate, elsewhere.root.keys)
    leaf = Authority(network.certificate(node, network.founder, issuing=second), keypair())
    wrong = {
        "the root": network.root,
        "the one before": network.issuing,
        "the present one": second,
        "of another root": another(network, root=elsewhere.root),
        "signed by other keys": another(network, root=stolen),
        "ended": another(network, to_s=-1),
        "below the issuing CA": another(network, root=second),
        "a node's": leaf,
        "nothing": Authority(b"no certificate", keypair()),
    }
    refused = {
        name: network.submit(network.founder, replacing(each)) for name, each in wrong.items()
    }
    assert refused == dict.fromkeys(wrong, REFUSED)
    assert identity.issuer(network.state) == second.certificate


def test_no_byte_of_the_certificate_can_be_changed(network: Network) -> None:
    from hypermesh.trustchain.verify import CertificateRefused, check_issuing

    second, root = another(network).certificate, network.root.certificate
    check_issuing(second, root, now_s=START_S)
    for position in range(len(second)):
        changed = bytearray(second)
        changed[position] ^= 1 << position % 8
        with pytest.raises(CertificateRefused):
            check_issuing(bytes(changed), root, now_s=START_S)


def test_the_grace_has_a_limit(network: Network) -> None:
    body: Body = replacing(another(network), ISSUER_GRACE_MS_MAX)
    assert decode(IdentityReplaceIssuer, encode(body)) == body
    for grace_ms in (-1, ISSUER_GRACE_MS_MAX + 1):
        wrong = msgspec.structs.replace(body, grace_ms=grace_ms)
        with pytest.raises(Undecodable):
            decode(IdentityReplaceIssuer, encode(wrong))
