"""The authority's logs in a network of processes: what joins is logged before it is answered, the
ledger anchors it, and everybody can check that without a network."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.ledger.bundled import check_ledger
from hypermesh.node.authority_logs import AuthorityLogs, NameAct, NameDropAct, RevocationAct
from hypermesh.trustchain.bundle import (
    Bundle,
    BundleMalformed,
    BundleRefused,
    Trust,
    check_bundle,
    read_bundle,
)
from hypermesh.trustchain.ca.authority import CertificateAuthority, CertificateOrder
from hypermesh.trustchain.ct.entry import read_tile_leaves
from hypermesh.trustchain.ct.errors import NamesUnexpected
from hypermesh.trustchain.ct.watch import CertificateFollower
from hypermesh.trustchain.logged import Entry, check_logged, log_identity
from hypermesh.trustchain.verify import fingerprint
from hypermesh.wire.api.ct import CtView, LogView
from hypermesh.wire.codec import decode
from hypermesh.wire.errors import Forbidden, HyperMeshError, InvalidInput, NotFound
from hypermesh.wire.rpc import (
    ALPN_ENROL,
    LoggedRequest,
    LoggedResponse,
    LogProofRequest,
    LogProofResponse,
)
from hypermesh.wire.tx import IdentityRevoke, TransparencyAnchor

from .acts import acts, over_socket
from .network import Network, Node, call, dial, eventually, hm, output, replaced, stoq

pytestmark = pytest.mark.timeout(240)
NOW_S = 1_800_000_000
CRL_ID = "1.3.6.1.5.5.7.48.1.3"


def entry_of(node: Node) -> Entry:
    """Where the certificate of `node` is, by the evidence that it keeps."""
    membership = node.membership
    assert membership.logged is not None
    return check_logged(
        membership.logged, membership.chain, membership.genesis.sequencer, membership.genesis_id
    )


def ct(node: Node) -> CtView:
    return node.ask(lambda mesh: mesh.ct.get())


def log_of(node: Node, purpose: str) -> LogView | None:
    return next((each for each in ct(node).logs if each.purpose == purpose), None)


def anchored(node: Node, purpose: str, size: int) -> LogView:
    """The log, once `node` knows it anchored as far as `size`."""

    def look() -> LogView | None:
        found = log_of(node, purpose)
        return found if found is not None and found.anchored.size >= size else None

    return eventually(look, f"{size} entries of {purpose} are anchored")


def bundle_of(node: Node, named: str = "me") -> Bundle:
    return read_bundle(node.ask(lambda mesh: mesh.certificates.bundle(named)))


def is_refused(bundle: Bundle, genesis_id: bytes) -> bool:
    try:
        check_ledger(bundle, genesis_id)
    except (BundleRefused, BundleMalformed):
        return True
    return False


def test_every_node_keeps_the_evidence_beside_its_certificate(pair: Network) -> None:
    founder, joined = entry_of(pair.alice), entry_of(pair.bob)
    assert founder.index == 0
    assert joined.index > 0
    assert founder.log == joined.log
    assert joined.checkpoint.size > joined.index


def test_both_nodes_know_how_far_the_logs_are_anchored(pair: Network) -> None:
    joined = entry_of(pair.bob)
    here = anchored(pair.alice, "certificates", joined.index + 1)
    there = anchored(pair.bob, "certificates", joined.index + 1)
    assert here.here is not None
    assert here.here.failure is None
    assert (there.here, there.fingerprint) == (None, here.fingerprint)
    own = ct(pair.bob).certificate
    assert own is not None
    assert (own.index, own.anchored) == (joined.index, True)
    assert anchored(pair.bob, "acts", 1).origin.endswith("/1/acts")


def test_an_invitation_is_a_leaf_before_it_is_answered(pair: Network) -> None:
    before = log_of(pair.alice, "acts")
    assert before is not None
    assert before.here is not None
    pair.invite()
    after = log_of(pair.alice, "acts")
    assert after is not None
    assert after.here is not None
    assert after.here.size == before.here.size + 1
    anchored(pair.bob, "acts", after.here.size)


@pytest.mark.parametrize(("asking", "named"), [("alice", "bob"), ("bob", "alice"), ("bob", "bob")])
def test_a_bundle_is_checked_from_the_genesis_alone(pair: Network, asking: str, named: str) -> None:
    membership = pair[named].membership
    made = bundle_of(pair[asking], pair[named].id.hex())
    assert made.certificate == membership.chain[0]
    verdict = check_bundle(made, Trust(), NOW_S)
    assert verdict.is_hybrid
    said = check_ledger(made, membership.genesis_id)
    assert said is not None
    assert (said.node, said.owner) == (membership.keys.id, membership.owner)
    assert (said.height, said.is_current, said.revoked_height) == (made.height, True, None)
    assert said.anchored_size > made.index


def test_a_bundle_with_any_member_altered_is_refused(pair: Network) -> None:
    made = bundle_of(pair.bob)
    other = bundle_of(pair.alice)
    genesis_id = pair.bob.membership.genesis_id
    assert made.ledger is not None
    assert other.ledger is not None
    ledger, theirs = made.ledger, other.ledger

    def flipped(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    planted = {
        "another height": replaced(made, height=(made.height or 0) + 1),
        "no ledger": replaced(made, ledger=None),
        "another certificate": replaced(made, certificate=other.certificate),
        "another leaf": replaced(made, leaf=other.leaf),
        "another index": replaced(made, index=made.index + 1),
        "the log's keys": replaced(made, log=replaced(made.log, falcon=flipped(made.log.falcon))),
    }
    changes = {
        "genesis": flipped(ledger.genesis),
        "header": flipped(ledger.header),
        "log": replaced(ledger.log, value=flipped(ledger.log.value or b"")),
        "log proof": None,
        "path": (*ledger.path[:-1], flipped(ledger.path[-1])) if ledger.path else (b"\1" * 32,),
        "node": theirs.node,
        "revocation": theirs.revocation,
    }
    for member, value in changes.items():
        altered = (
            replaced(ledger, log=replaced(ledger.log, proof=theirs.node.proof))
            if value is None
            else replaced(ledger, **{member: value})
        )
        planted[f"ledger: {member}"] = replaced(made, ledger=altered)
    assert [what for what, each in planted.items() if not is_refused(each, genesis_id)] == []
    with pytest.raises(BundleRefused, match="another network"):
        check_ledger(made, bytes(32))


def test_the_commands_say_what_is_logged(pair: Network, tmp_path: Path) -> None:
    alice, bob = pair.alice, pair.bob
    anchored(bob, "certificates", 2)
    shown = hm("cert", "show", data=bob.data)
    assert b"anchored in the ledger" in shown.stdout, shown.stderr
    logs = output(hm("cert", "log", "--output", "json", data=alice.data))
    assert {each["purpose"] for each in logs["logs"]} == {"certificates", "acts"}
    assert b"takes entries" in hm("cert", "log", data=bob.data).stdout
    file, page = tmp_path / "alice.json", tmp_path / "alice.html"
    for target in (file, page):
        done = hm("cert", "bundle", "alice", "-o", str(target), data=bob.data)
        assert done.returncode == 0, done.stderr
    genesis = alice.membership.genesis_id.hex()
    verdict = output(hm("cert", "verify", str(file), "--genesis", genesis, "--output", "json"))
    assert (verdict["is_root_trusted"], verdict["is_log_trusted"]) == (True, True)
    assert verdict["ledger"]["revoked_height"] is None
    said = hm("cert", "verify", str(file)).stdout.decode()
    assert "as the bundle says" in said
    assert "revoked no" in " ".join(said.split())
    wrong = hm("cert", "verify", str(file), "--genesis", "00" * 32)
    assert wrong.returncode == BundleRefused.exit_code
    assert b"<script" in page.read_bytes()
    altered = json.loads(file.read_text()) | {"height": 1}
    file.write_text(json.dumps(altered))
    assert hm("cert", "verify", str(file)).returncode == BundleRefused.exit_code


def test_peers_ask_for_evidence_and_paths(pair: Network) -> None:
    membership, entry = pair.bob.membership, entry_of(pair.bob)
    with stoq(membership) as member:
        connection = dial(member, pair.alice)
        known = LoggedRequest(pair.alice.membership.certificate_sha256)
        answer = decode(LoggedResponse, call(connection, "certificate.logged", known))
        assert answer.chain == pair.alice.membership.chain
        assert answer.logged is not None
        size = entry.index + 1
        request = LogProofRequest(entry.log.origin, entry.index, size)
        path = decode(LogProofResponse, call(connection, "log.prove", request)).path
        assert len(path) == (size - 1).bit_length()
        with pytest.raises(NotFound):
            call(connection, "certificate.logged", LoggedRequest(bytes(32)))
        for wrong in (
            replaced(request, origin="hm.internal/elsewhere"),
            replaced(request, size=2**40),
            replaced(request, index=5, size=5),
        ):
            with pytest.raises(NotFound):
                call(connection, "log.prove", wrong)
        with pytest.raises(NotFound):
            call(dial(member, pair.bob), "log.prove", request)
    with stoq(membership, certified=False) as stranger:
        connection = dial(stranger, pair.alice, ALPN_ENROL)
        for method in ("certificate.logged", "log.prove", "log.cosign", "log.cosigned"):
            with pytest.raises(Forbidden):
                call(connection, method, LoggedRequest(bytes(32)))


@dataclass
class OverApi:
    """A `LogSource`: one of the logs as the node serves it."""

    client: httpx.Client
    log: str

    def resource(self, path: str) -> bytes:
        answer = self.client.get(f"/v1/ct/{self.log}/{path}")
        assert answer.status_code == 200, answer.text
        return answer.content


def test_a_monitor_follows_the_logs_over_the_api(pair: Network, tmp_path: Path) -> None:
    """It checks every leaf against the checkpoint itself."""
    entry = entry_of(pair.bob)
    with over_socket(pair.alice) as client, pair.alice.mesh() as mesh:
        logs = {each.purpose: each for each in mesh.ct.get().logs}
        identity = log_identity(entry.log)
        assert identity.fingerprint.hex() == logs["certificates"].fingerprint
        leaves: dict[int, bytes] = {}
        follower = CertificateFollower(
            OverApi(client, "certificates"), identity, tmp_path / "position"
        )
        checkpoint = follower.follow(
            lambda index, stored: leaves.update({index: next(read_tile_leaves(stored)).leaf})
        )
        assert leaves[entry.index] == entry.leaf
        assert len(leaves) == checkpoint.size
        sth = client.get("/v1/ct/certificates/ct/v1/get-sth").json()
        assert sth["tree_size"] == checkpoint.size
        query = {"start": entry.index, "end": entry.index}
        (logged,) = client.get("/v1/ct/certificates/ct/v1/get-entries", params=query).json()[
            "entries"
        ]
        assert base64.b64decode(logged["leaf_input"]) == entry.leaf
        assert b"\n" in OverApi(client, "acts").resource("checkpoint")
        for wrong, status in (
            ("names/checkpoint", 404),
            ("acts/issuer/00", 404),
            ("certificates/tile/0/x01", 404),
            ("certificates/ct/v1/add-chain", 404),
            ("certificates/ct/v1/get-entries?start=-1&end=2", 400),
            ("certificates/ct/v1/get-entries?start=9000&end=9000", 404),
            ("certificates/ct/v1/get-proof-by-hash?hash=!&tree_size=1", 400),
        ):
            assert client.get(f"/v1/ct/{wrong}").status_code == status, wrong
    with over_socket(pair.bob) as client:
        assert client.get("/v1/ct/certificates/checkpoint").status_code == 404
        assert client.get("/v1/crl").status_code == 501
        assert client.post("/v1/ocsp", content=b"").status_code == 501


def watched(node: Node, state: Path, *more: str) -> subprocess.CompletedProcess[bytes]:
    return hm("cert", "watch", "--state", str(state), "--once", *more, data=node.data)


def test_any_node_watches_the_log_of_its_network(pair: Network, tmp_path: Path) -> None:
    """It asks the node that keeps it, believes none of it, and takes nodes of the ledger as they
    are; a certificate for keys that the ledger does not know is told."""
    for node in (pair.alice, pair.bob):
        done = watched(node, tmp_path / node.name)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
    pair.alice.stop()
    keys, bob = QuantumKeys.generate(), pair.bob.membership
    membership = pair.alice.membership
    authority = CertificateAuthority.open(pair.alice.data, membership.store)
    logs = AuthorityLogs(pair.alice.data, membership.store, membership.keys, membership.genesis_id)
    logs.serve(authority)
    orders = ((keys.public, bob.owner), (bob.keys.public, bob.owner))
    for number, (public, owner) in enumerate(orders):
        order = CertificateOrder(bytes([number]) * 32, membership.genesis_id, public, owner)
        authority.certify(order, int(time.time()))
    logs.close()
    authority.close()
    pair.alice.start()
    done = eventually(
        lambda: (
            found
            if (found := watched(pair.bob, tmp_path / "bob", "--output", "jsonl")).stdout
            else None
        ),
        "bob reads the log again",
        90.0,
    )
    (unknown,) = map(json.loads, done.stdout.splitlines())
    assert done.returncode == NamesUnexpected.exit_code
    assert keys.id.hex() in unknown["names"]
    assert watched(pair.bob, tmp_path / "bob").returncode == 0
    told = ("--name", "*.hm.internal", "--expect", "*.hm.internal")
    assert watched(pair.alice, tmp_path / "fresh", *told).returncode == 0
    own = watched(pair.alice, tmp_path / "own", "--log", str(tmp_path / "bob"))
    assert own.returncode == InvalidInput.exit_code
    assert watched(pair.alice, tmp_path / "bob" / "none").returncode != 0


def asked(client: httpx.Client, chain: list[bytes]) -> ocsp.OCSPResponse:
    """What the node answers on `chain[0]`, whose issuer is `chain[1]`."""
    leaf, issuer = (x509.load_der_x509_certificate(each) for each in chain[:2])
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, hashes.SHA256()).build()
    answer = client.post("/v1/ocsp", content=request.public_bytes(Encoding.DER))
    assert answer.headers["content-type"] == "application/ocsp-response"
    return ocsp.load_der_ocsp_response(answer.content)


def listed(client: httpx.Client) -> x509.CertificateRevocationList:
    answer = client.get("/v1/crl")
    assert answer.headers["content-type"] == "application/pkix-crl"
    return x509.load_der_x509_crl(answer.content)


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_the_founder_reports_what_the_authority_did(pair: Network, tmp_path: Path) -> None:
    alice, page = pair.alice, tmp_path / "report.html"
    with pair.bob.mesh() as mesh:
        mesh.dns.name("reported", node=pair.bob.id.hex())
    eventually(
        lambda: "reported" in {label for _, label, _ in naming_of(alice)}, "it is in the log"
    )
    told = output(hm("cert", "report", "--html", str(page), "--output", "json", data=alice.data))
    here = {each.origin: each.here for each in ct(alice).logs}
    for origin, (first, last) in told["positions"].items():
        shown = here[origin]
        assert shown is not None
        assert (first, last) == (0, shown.size)
        assert told["checkpoints"][origin].startswith(f"{origin}\n{last}\n")
    issued = {each["sha256"]: each for each in told["certificates"]}
    assert told["issued"] == len(issued)
    chain = pair.bob.membership.chain
    own = issued[fingerprint(chain[0]).hex()]
    assert (own["index"], own["node"]) == (entry_of(pair.bob).index, pair.bob.id.hex())
    owner = pair.bob.membership.owner.hex()
    assert own["owner"] == owner
    assert told["issued_by_owner"][owner] >= 1
    assert told["acts_by_kind"]["ca.invite"] >= 1
    (named,) = [each for each in told["acts"] if each["subject"] == "reported"]
    assert (named["kind"], named["by"]) == (NameAct.kind, owner)
    assert told["revoked"] == told["acts_by_kind"].get(RevocationAct.kind, 0)
    assert {each["framework"] for each in told["controls"]} == {"SOC 2", "HIPAA"}
    text = page.read_text()
    assert "<script" not in text
    for expected in (pair.bob.id.hex(), "reported", "164.312(b)", told["genesis"]):
        assert expected in text
    assert hm("cert", "report", data=pair.bob.data).returncode != 0
    empty = output(hm("cert", "report", "--to", "2001-01-01", "--output", "json", data=alice.data))
    assert (empty["issued"], empty["acts"], empty["certificates"]) == (0, [], [])


def test_nobody_but_the_authority_anchors(pair: Network) -> None:
    found = anchored(pair.bob, "certificates", 2)
    body = TransparencyAnchor(found.origin, 2**30, b"\1" * 32, [])
    assert pair.bob.submit(body).code == "HM-TX-LOG-0001"
    assert pair.bob.submit(body, pair.bob.owner_keys).code == "HM-TX-LOG-0001"
    for size, root, code in (
        (2**30, b"\1" * 32, "HM-TX-LOG-0007"),
        (0, b"\1" * 32, "HM-TX-LOG-0005"),
    ):
        forged = TransparencyAnchor(found.origin, size, root, [])
        assert pair.alice.submit(forged).code == code


def test_a_revocation_is_a_leaf_and_in_the_bundle(pair: Network) -> None:
    carol = pair.add("carol")
    carol.start(pair.invite())
    node, chain = carol.id, carol.membership.chain
    serial = x509.load_der_x509_certificate(chain[0]).serial_number
    carol.stop()
    with over_socket(pair.alice) as client:
        assert asked(client, chain).certificate_status is ocsp.OCSPCertStatus.GOOD
        first = listed(client)
        assert first.get_revoked_certificate_by_serial_number(serial) is None
    before = log_of(pair.alice, "acts")
    assert before is not None
    assert before.here is not None
    body = IdentityRevoke(node, "stolen")
    done = pair.alice.submit(body, pair.alice.owner_keys)
    assert done.code == "ok"
    # The exports follow with the very next answer, and say at which height they stand.
    with over_socket(pair.alice) as client:
        answer, crl = asked(client, chain), listed(client)
        other = asked(client, pair.bob.membership.chain)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert other.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert crl.get_revoked_certificate_by_serial_number(serial) is not None
    assert number_of(crl) >= done.height > number_of(first)
    issuing = x509.load_der_x509_certificate(chain[1]).public_key()
    assert isinstance(issuing, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(issuing)
    assert answer.signature_hash_algorithm is not None
    issuing.verify(
        answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm)
    )
    (height,) = (
        each.value for each in answer.single_extensions if each.oid.dotted_string == CRL_ID
    )
    assert isinstance(height, x509.UnrecognizedExtension)
    # CrlID (RFC 6960 section 4.4.2): a SEQUENCE of crlNum [1] EXPLICIT INTEGER.
    assert int.from_bytes(height.value[6:], "big") >= done.height
    anchored(pair.bob, "acts", before.here.size + 1)
    last = acts(pair.alice)[-1]
    assert last.kind == RevocationAct.kind
    assert decode(RevocationAct, last.document).reason == "stolen"
    made = bundle_of(pair.alice, node.hex())
    said = check_ledger(made, pair.alice.membership.genesis_id)
    assert said is not None
    assert (said.reason, said.node) == ("stolen", node)
    assert said.revoked_height is not None
    # And without the row that says so: refused.
    assert made.ledger is not None
    hidden = replaced(made.ledger, revocation=replaced(made.ledger.revocation, value=None))
    with pytest.raises(HyperMeshError):
        check_ledger(replaced(made, ledger=hidden), None)
    del pair.nodes["carol"]


def naming_of(node: Node) -> list[tuple[str, str, bytes | None]]:
    """What the log of acts says of names: kind, label and node of each change."""
    kinds: dict[str, type[NameAct | NameDropAct]] = {
        each.kind: each for each in (NameAct, NameDropAct)
    }
    said = [decode(kinds[leaf.kind], leaf.document) for leaf in acts(node) if leaf.kind in kinds]
    return [(each.kind, each.label, each.node) for each in said]


def is_gone(node: Node, label: str) -> bool:
    """Give `label` up; whether nobody has it."""
    with node.mesh() as mesh, contextlib.suppress(HyperMeshError):
        mesh.dns.drop(label)
    return label not in {each.label for each in node.ask(lambda m: list(m.dns.labels()))}


def test_every_change_of_a_name_is_a_leaf_once(pair: Network) -> None:
    """Also of a name that the next block takes back, and over a kill."""
    alice, bob = pair.alice, pair.bob
    with bob.mesh() as mesh:
        mesh.dns.name("shelf", node=bob.id.hex())
        mesh.dns.drop("shelf")
        mesh.dns.name("shelf", node=bob.id.hex())
    alice.kill()
    alice.start()
    eventually(lambda: is_gone(bob, "shelf"), "bob writes again, and has given the name up")
    expected = [
        (NameAct.kind, "shelf", bob.id),
        (NameDropAct.kind, "shelf", bob.id),
        (NameAct.kind, "shelf", bob.id),
        (NameDropAct.kind, "shelf", bob.id),
    ]

    def changes() -> list[tuple[str, str, bytes | None]]:
        return [each for each in naming_of(alice) if each[1] == "shelf"]

    eventually(lambda: len(changes()) >= len(expected), "the log has every change")
    assert changes() == expected


def test_a_log_put_back_by_hand_is_found_out_by_the_ledger(pair: Network, tmp_path: Path) -> None:
    """It would sign other entries at indices that it has shown: it ends, and the next begins."""
    alice, bob = pair.alice, pair.bob
    with bob.mesh() as mesh:
        mesh.dns.name("old", node=bob.id.hex())
    eventually(lambda: "old" in {label for _, label, _ in naming_of(alice)}, "it is in the log")
    named = naming_of(alice)
    alice.stop()
    shutil.copytree(alice.data / "ct", tmp_path / "ct")
    alice.start()
    pair.invite()
    grown = log_of(alice, "acts")
    assert grown is not None
    assert grown.here is not None
    anchored(bob, "acts", grown.here.size)
    alice.stop()
    shutil.rmtree(alice.data / "ct")
    shutil.copytree(tmp_path / "ct", alice.data / "ct")
    # As of a ledger whose blocks with names are long past.
    with contextlib.closing(sqlite3.connect(alice.data / "ledger" / "ledger.sqlite")) as ledger:
        ledger.execute("DELETE FROM events")
        ledger.commit()
    alice.start()
    assert "has ended" in alice.log
    following = grown.origin.replace("/1/", "/2/")

    def followed() -> bool:
        return {each.origin: each.ended_height is None for each in ct(bob).logs}.get(
            following, False
        )

    eventually(followed, "bob knows the log that follows")
    ended = next(each for each in ct(bob).logs if each.origin == grown.origin)
    assert ended.ended_height is not None
    assert ended.anchored.size == grown.here.size
    assert log_of(alice, "acts").here.failure is None  # type: ignore[union-attr]
    # The log that follows has what became of names before it began.
    eventually(lambda: len(naming_of(alice)) >= len(named), "the changes are recorded")
    assert naming_of(alice) == named
