"""Which names the holder of a certificate may change. Pure.

A name in the certificate (dNSName, RFC 5280 section 4.2.1.6) gives the right to that owner, and to
the names of its services below it, whose labels begin with an underscore (RFC 8552):
`_443._tcp.www.example` for `www.example`. A wildcard stands for one label, as in TLS (RFC 9525
section 6.3). It gives no right to other names below: who runs `example` does not thereby run all
that is below it. What decides whom others believe, delegations and CAA, no update changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography import x509
from dns.rdatatype import RdataType

from hypermesh.trustchain.dns.records import OWN_TYPES, NameInvalid, name

UPDATABLE_TYPES = OWN_TYPES - {RdataType.NS, RdataType.DS, RdataType.CAA}
"""And ANY, where nothing is there to be deleted."""

_UNDERSCORE = ord("_")


def names_of(certificate: bytes) -> tuple[bytes, ...]:
    """The DNS names in a certificate (DER) that was checked, in wire form."""
    try:
        read = x509.load_der_x509_certificate(certificate)
        found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return ()
    names = []
    for text in found.value.get_values_for_type(x509.DNSName):
        try:
            names.append(name(text))
        except NameInvalid:
            continue
    return tuple(names)


def may_change(names: Iterable[bytes], owner: bytes, kind: int) -> bool:
    """Whether `names` of a certificate give the right to the sets of `owner` and `kind`."""
    if kind not in UPDATABLE_TYPES and kind != RdataType.ANY:
        return False
    host = owner
    while len(host) > 1 and host[1] == _UNDERSCORE:
        host = host[1 + host[0] :]
    return any(_stands_for(each, host) for each in names)


def _stands_for(name_: bytes, host: bytes) -> bool:
    if len(host) <= 1:
        return False
    if name_.startswith(b"\x01*"):
        return not host.startswith(b"\x01*") and host[1 + host[0] :] == name_[2:]
    return host == name_
