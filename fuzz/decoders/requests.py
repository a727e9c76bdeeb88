"""Requests for certificates, as strangers send them: the whole of one, and the names in one.

Altered bytes end the proof of a request, so little of it would be read behind that. So there is a
second target, whose inputs are names: a line each, its first byte the kind. They are put into a
request that is signed, with a key that is the same on every run.
"""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtensionOID
from fuzz.decoders.mutator import Lots

from hypermesh.trustchain import der
from hypermesh.trustchain.ca import names
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.names import NAME_CHARACTERS_MAX, NAMES_MAX, Name, NameKind
from hypermesh.trustchain.ca.request import read_request, write_request
from hypermesh.trustchain.ca.signer import KeySigner

_SIGNER = KeySigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))), KeyKind.ED25519)
_NOBODY = x509.Name([])
_EXTENSION_REQUEST = der.oid(x509.ObjectIdentifier("1.2.840.113549.1.9.14"))
_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*(?=[0-9-]*[a-z])[a-z0-9-]{1,63}")
_EVERY_KIND = tuple(
    Name.parse(text)
    for text in (
        "dns:www.example.internal",
        "dns:*.example.internal",
        "dns:xn--bcher-kva.example.internal",
        "ip:2001:db8::1",
        "ip:192.0.2.1",
        "email:who@example.internal",
        "uri:spiffe://example.internal/who",
    )
)


def whole(lots: Lots) -> list[bytes]:
    """With no name, with one of each kind, and with as many as one may have."""
    many = [Name(NameKind.DNS, f"n{number}.example.internal") for number in range(NAMES_MAX)]
    one = [_EVERY_KIND[lots.below(len(_EVERY_KIND))]]
    return [write_request(_SIGNER, _NOBODY, each) for each in ([], one, _EVERY_KIND, many)]


def read_whole(content: bytes) -> None:
    """What is read has a proof that holds for others too."""
    read = read_request(content)
    assert x509.load_der_x509_csr(content).is_signature_valid
    _require_sound(read.names)


def lines(lots: Lots) -> list[bytes]:
    """Names of each kind, kinds that none of ours carries, and lists that are too long."""
    kinds = [der.read(names.general_names([each]).public_bytes()) for each in _EVERY_KIND]
    every = [each.children()[0] for each in kinds]
    some = [bytes((each.tag & 0x0F,)) + each.content for each in every]
    other = [b"\x00other", b"\x03x400", b"\x04name", b"\x08\x2a\x03", b"\x07" + bytes(8)]
    counts = (NAMES_MAX - 1, NAMES_MAX, NAMES_MAX + 1, 20 * NAMES_MAX)
    lists = [[b"\x02n%d.example" % lots.below(10**6) for _ in range(count)] for count in counts]
    return [b"\n".join(each) for each in [some, some + other, *([one] for one in some), *lists]]


def read_lines(content: bytes) -> None:
    general = [der.tlv(0x80 | line[0] & 0x0F, line[1:]) for line in content.split(b"\n") if line]
    identifier = der.oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    extension = der.sequence(identifier, der.octets(der.sequence(*general)))
    wanted = der.sequence(_EXTENSION_REQUEST, der.set_of([der.sequence(extension)]))
    info = der.sequence(
        der.integer(0), _NOBODY.public_bytes(), _SIGNER.public_key, der.context(0, wanted)
    )
    signature = der.bits(_SIGNER.sign(info))
    request = der.sequence(info, _SIGNER.algorithm.identifier, signature)
    _require_sound(read_request(request).names)


def _require_sound(read: tuple[Name, ...]) -> None:
    """No more than one certificate holds, each once and in its one form."""
    assert len(read) <= NAMES_MAX
    assert len(set(read)) == len(read)
    for each in read:
        assert len(each.text) <= NAME_CHARACTERS_MAX
        assert Name.parse(str(each)) == each
        match each.kind:
            case NameKind.DNS:
                assert _HOST.fullmatch(each.text)
            case NameKind.IP:
                address = ipaddress.ip_address(each.text)
                assert str(address) == each.text
                assert not address.is_multicast
            case NameKind.EMAIL:
                assert _HOST.fullmatch(each.text.rpartition("@")[2])
            case NameKind.URI:
                assert each.text.isprintable()
