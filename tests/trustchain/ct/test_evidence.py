"""SCTs, leaves, notes: as others read them, and refused with any byte altered."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.certificate_transparency import LogEntryType, Version

from hypermesh.crypto.falcon import FalconKey
from hypermesh.trustchain.ct.checkpoint import (
    FALCON_TYPE,
    Checkpoint,
    CosignatureVerifier,
    LogIdentity,
    LogSigner,
    cosign,
    cosigned_at,
    read_checkpoint,
    tree_head,
)
from hypermesh.trustchain.ct.entry import (
    LEAF_HEAD,
    prepared,
    read_act,
    read_bundle,
    read_leaf,
    read_tile_leaves,
    timestamped,
)
from hypermesh.trustchain.ct.errors import EntryInvalid, ProofInvalid
from hypermesh.trustchain.ct.log import TransparencyLogs
from hypermesh.trustchain.ct.note import NOTE_BYTES_MAX, Line, Note, read_note, verified, with_lines
from hypermesh.trustchain.ct.precertificate import submission_of, without_poison
from hypermesh.trustchain.ct.recorder import ActRecorder, CertificateRecorder
from hypermesh.trustchain.ct.sct import DETERMINISTIC, Sct, read_sct, verify_sct
from hypermesh.trustchain.ct.tiles import Tile
from hypermesh.trustchain.ct.tree import leaf_hash
from hypermesh.trustchain.evidence import Act, FinalCertificate, Precertificate
from hypermesh.wire.errors import HyperMeshError

from .samples import WAIT_S, Issuer

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
NAME = "log.example/a"
WITNESS = "witness.example/w"


@pytest.fixture(scope="module")
def signer() -> LogSigner:
    ed25519, falcon = Ed25519PrivateKey.generate(), FalconKey.generate()
    p256 = ec.generate_private_key(ec.SECP256R1())
    public = ed25519.public_key().public_bytes_raw()
    identity = LogIdentity(NAME, public, falcon.public, p256.public_key())
    return LogSigner(identity, ed25519, falcon, p256)


def test_an_embedded_sct_as_another_library_reads_it(
    logs: TransparencyLogs, issuer: Issuer
) -> None:
    """The whole way of RFC 6962 section 3.1: precertificate, SCT, certificate."""
    view = logs.certificates
    builder = issuer.builder("pre.example", "www.pre.example")
    pre = x509.load_der_x509_certificate(
        issuer.sign(builder.add_extension(x509.PrecertPoison(), critical=True))
    )
    submission = submission_of(pre, (issuer.certificate,))
    assert isinstance(submission, Precertificate)
    (recorded,) = CertificateRecorder(logs, WAIT_S).record([submission])
    sized = len(recorded.sct).to_bytes(2, "big") + recorded.sct
    scts = len(sized).to_bytes(2, "big") + sized
    octets = b"\x04" + (b"\x81" if len(scts) > 127 else b"") + bytes((len(scts),)) + scts
    final = x509.load_der_x509_certificate(
        issuer.sign(builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, octets), False))
    )
    assert final.tbs_precertificate_bytes == submission.tbs
    found = final.extensions.get_extension_for_class(
        x509.PrecertificateSignedCertificateTimestamps
    ).value
    (theirs,) = found
    ours = read_sct(recorded.sct)
    assert theirs.version == Version.v1
    assert theirs.entry_type == LogEntryType.PRE_CERTIFICATE
    assert theirs.log_id == ours.log_id == view.identity.log_id
    assert int(theirs.timestamp.timestamp() * 1000) // 1000 == ours.timestamp_ms // 1000
    assert theirs.extension_bytes == ours.extensions == b"\x00\x00\x05" + bytes(5)
    assert theirs.signature == ours.signature
    assert theirs.signature_hash_algorithm.name == "sha256"
    leaf = view.leaf(0)
    key = view.identity.p256
    assert key is not None
    key.verify(theirs.signature, leaf, ec.ECDSA(hashes.SHA256()))
    read = read_leaf(leaf)
    assert read.signed == final.tbs_precertificate_bytes
    entry = view.entry(0)
    assert entry.submitted == submission.certificate
    assert entry.issuer_key_hash == submission.issuer_key_hash


def test_an_altered_sct_is_refused(logs: TransparencyLogs, issuer: Issuer) -> None:
    submission = issuer.final("a.example")
    (recorded,) = CertificateRecorder(logs, WAIT_S).record([submission])
    key = logs.certificates.identity.p256
    assert key is not None
    verify_sct(read_sct(recorded.sct), submission, key)
    assert read_sct(recorded.sct).encoded() == recorded.sct
    for altered in alterations(recorded.sct):
        with pytest.raises((EntryInvalid, ProofInvalid)):
            verify_sct(read_sct(altered), submission, key)
    for cut in range(len(recorded.sct)):
        with pytest.raises(EntryInvalid):
            read_sct(recorded.sct[:cut])
    for altered in alterations(submission.certificate):
        with pytest.raises(ProofInvalid):
            verify_sct(read_sct(recorded.sct), FinalCertificate(altered, ()), key)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(ProofInvalid):
        verify_sct(read_sct(recorded.sct), submission, other)


def test_the_signature_of_an_sct_is_the_same_each_time(signer: LogSigner) -> None:
    """RFC 6979: none has to be stored."""
    assert signer.p256 is not None
    assert signer.p256.sign(b"leaf", DETERMINISTIC) == signer.p256.sign(b"leaf", DETERMINISTIC)


def test_tiles_of_entries(logs: TransparencyLogs, issuer: Issuer) -> None:
    submissions = [
        issuer.final("a.example"),
        Precertificate(b"pre", b"tbs", bytes(range(32)), (b"one", b"two")),
        FinalCertificate(b"alone", ()),
    ]
    recorded = CertificateRecorder(logs, WAIT_S).record(submissions)
    data = logs.certificates.tile(Tile(None, 0, 3))
    assert data == logs.certificates.resource("tile/data/000.p/3")
    entries = list(read_tile_leaves(data))
    hashes_ = logs.certificates.tile(Tile(0, 0, 3))
    for number, (entry, submission) in enumerate(zip(entries, submissions, strict=True)):
        assert entry.index == recorded[number].index == number
        assert entry.submitted == submission.certificate
        assert entry.leaf == LEAF_HEAD + timestamped(
            recorded[number].timestamp_ms, prepared(submission).signed, number
        )
        assert leaf_hash(entry.leaf) == hashes_[number * 32 : number * 32 + 32]
        assert entry.chain == tuple(hashlib.sha256(each).digest() for each in submission.chain)
    assert entries[1].signed == b"tbs"
    for cut in range(1, len(entries[-1].stored)):
        with pytest.raises(EntryInvalid):
            list(read_tile_leaves(data[:-cut]))


def test_an_altered_leaf_is_another_leaf(logs: TransparencyLogs, issuer: Issuer) -> None:
    CertificateRecorder(logs, WAIT_S).record([issuer.final("a.example")])
    ActRecorder(logs, WAIT_S).record([Act("dns.update", b"document")])
    leaf = logs.certificates.leaf(0)
    original = read_leaf(leaf)
    for altered in alterations(leaf):
        try:
            read = read_leaf(altered)
        except EntryInvalid:
            continue
        # What is still an entry has another hash, so no proof holds for it.
        assert read != original
        assert leaf_hash(altered) != leaf_hash(leaf)
    act = logs.acts.leaf(0)
    for altered in alterations(act):
        try:
            assert read_act(altered) != read_act(act)
        except EntryInvalid:
            continue
    (only,) = read_bundle(logs.acts.tile(Tile(None, 0, 1)))
    assert only == act
    with pytest.raises(EntryInvalid):
        list(read_bundle(logs.acts.tile(Tile(None, 0, 1))[:-1]))


def test_an_altered_checkpoint_is_refused(signer: LogSigner) -> None:
    identity = signer.identity
    key = Ed25519PrivateKey.generate()
    witness = CosignatureVerifier(WITNESS, key.public_key().public_bytes_raw())
    checkpoint = Checkpoint(NAME, 5, bytes(range(32)))
    plain = signer.sign(checkpoint, 1_700_000_000_000)
    note = with_lines(plain, [cosign(key, WITNESS, plain.text, 1_700_000_001)]).encoded()
    assert identity.opened(note, [witness], 1) == checkpoint
    assert cosigned_at(read_note(note).lines[-1]) == 1_700_000_001
    for altered in alterations(note):
        with pytest.raises((EntryInvalid, ProofInvalid)):
            identity.opened(altered, [witness], 1)
    for cut in range(1, 200):
        with pytest.raises((EntryInvalid, ProofInvalid)):
            identity.opened(note[:-cut], [witness], 1)
    assert identity.opened(plain.encoded()) == checkpoint
    with pytest.raises(ProofInvalid, match="witnesses"):
        identity.opened(plain.encoded(), [witness], 1)


def test_every_line_of_the_log_is_demanded(signer: LogSigner) -> None:
    note = signer.sign(Checkpoint(NAME, 5, bytes(32)), 1)
    assert len(note.lines) == 3
    for missing in range(3):
        lines = note.lines[:missing] + note.lines[missing + 1 :]
        with pytest.raises(ProofInvalid, match="missing"):
            signer.identity.opened(Note(note.text, lines).encoded())
    other = Note(note.text.replace(NAME, "log.example/b"), note.lines)
    with pytest.raises(ProofInvalid):
        signer.identity.opened(other.encoded())


def test_lines_are_as_their_specifications_have_them(signer: LogSigner) -> None:
    """Made again here from the words of the specifications."""
    identity, root = signer.identity, bytes(range(32))
    note = signer.sign(Checkpoint(NAME, 70_000, root), 1_234)
    assert note.text == f"{NAME}\n70000\n{base64.b64encode(root).decode()}\n"
    rows = note.encoded().decode().split("\n")
    assert rows[3] == ""
    head, ed25519, falcon = (base64.b64decode(row.split(" ")[2]) for row in rows[4:7])
    assert all(row.startswith(f"\u2014 {NAME} ") for row in rows[4:7])
    assert signer.p256 is not None
    assert head[:4] == hashlib.sha256(NAME.encode() + b"\n\x05" + identity.log_id).digest()[:4]
    assert head[4:12] == (1_234).to_bytes(8, "big")
    assert head[12:14] == b"\x04\x03"
    signed = b"\x00\x01" + (1_234).to_bytes(8, "big") + (70_000).to_bytes(8, "big") + root
    assert signed == tree_head(1_234, Checkpoint(NAME, 70_000, root))
    signer.p256.public_key().verify(head[16:], signed, ec.ECDSA(hashes.SHA256()))
    public = identity.ed25519
    assert ed25519[:4] == hashlib.sha256(NAME.encode() + b"\n\x01" + public).digest()[:4]
    signer.ed25519.public_key().verify(ed25519[4:], note.text.encode())
    named = hashlib.sha256(NAME.encode() + b"\n" + FALCON_TYPE + identity.falcon).digest()
    assert falcon[:4] == named[:4]
    assert len(falcon) == 4 + 1280
    key = Ed25519PrivateKey.generate()
    line = cosign(key, WITNESS, note.text, 1_679_315_147)
    message = b"cosignature/v1\ntime 1679315147\n" + note.text.encode()
    key.public_key().verify(line.signature[8:], message)
    raw = key.public_key().public_bytes_raw()
    assert line.key_id == hashlib.sha256(WITNESS.encode() + b"\n\x04" + raw).digest()[:4]


def test_a_note_of_others_verifies() -> None:
    """The example of C2SP signed-note has a line of a key that is not given; one is added."""
    text = "Ognuno sta solo sul cuor della terra\n\ned \u00e8 subito sera.\n"
    key = Ed25519PrivateKey.generate()
    identity = LogIdentity("a.example", key.public_key().public_bytes_raw(), bytes(1793))
    verifier = identity.verifiers[0]
    mine = Line("a.example", verifier.key_id, key.sign(text.encode()))
    strange = Line("b.example", b"1234", b"anything")
    data = Note(text, (strange, mine)).encoded()
    note = read_note(data)
    assert note.text == text
    assert note.encoded() == data
    assert verified(note, [verifier]).signed_by(verifier) == mine
    wrong = Line("a.example", verifier.key_id, bytes(64))
    with pytest.raises(ProofInvalid):
        verified(Note(text, (mine, wrong)), [verifier])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"text\n",
        b"text\n\n",
        b"\n\n",
        "text\n\n\u2014 name AAAAAAAA".encode(),
        "text\n\n\u2014 name AAAA\n".encode(),
        "text\n\n\u2014 na+me AAAAAAAA\n".encode(),
        "text\n\n\u2014  AAAAAAAA\n".encode(),
        "text\n\n\u2014 name AAAAAAB=\n".encode(),
        "text\n\n\u2014 name AAAA AAAA\n".encode(),
        b"text\n\n- name AAAAAAAA\n",
        "te\rxt\n\n\u2014 name AAAAAAAA\n".encode(),
        b"te\xffxt\n\n",
        b"x" * (NOTE_BYTES_MAX + 1),
        ("text\n\n" + "\u2014 name AAAAAAAA\n" * 65).encode(),
    ],
)
def test_what_is_no_note(data: bytes) -> None:
    with pytest.raises(EntryInvalid):
        read_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n5\n",
        f"a\n05\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n9999999999999\n{base64.b64encode(bytes(32)).decode()}\n",
        f"\n5\n{base64.b64encode(bytes(32)).decode()}\n",
        f"a\n5\n{base64.b64encode(bytes(31)).decode()}\n",
        f"a\n5\n{base64.b64encode(bytes(32)).decode()}\nextension\n",
        "a\n5\nnone\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(EntryInvalid):
        read_checkpoint(text)


def test_the_poison_is_taken_out_and_nothing_else(issuer: Issuer) -> None:
    builder = issuer.builder("a.example")
    plain = x509.load_der_x509_certificate(issuer.sign(builder))
    pre = x509.load_der_x509_certificate(
        issuer.sign(builder.add_extension(x509.PrecertPoison(), critical=True))
    )
    assert without_poison(pre.tbs_certificate_bytes) == plain.tbs_certificate_bytes
    with pytest.raises(EntryInvalid):
        without_poison(plain.tbs_certificate_bytes)
    for cut in range(len(pre.tbs_certificate_bytes)):
        with pytest.raises(EntryInvalid):
            without_poison(pre.tbs_certificate_bytes[:cut])
    lenient = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.3"), b"\x04\x00"
    )
    odd = issuer.sign(builder.add_extension(lenient, critical=True))
    with pytest.raises(HyperMeshError):
        submission_of(x509.load_der_x509_certificate(odd), (issuer.certificate,))


def alterations(value: bytes) -> list[bytes]:
    """`value` with each byte altered, once each."""
    return [value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :] for at in range(len(value))]


def test_sct_extensions_other_than_ours() -> None:
    with pytest.raises(EntryInvalid):
        _ = Sct(bytes(32), 0, b"", b"").index
