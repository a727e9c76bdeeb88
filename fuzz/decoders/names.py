"""What the name server reads in Python: dynamic updates, names and data of records."""

from __future__ import annotations

import dns.update
from fuzz.decoders.mutator import Lots

from hypermesh.trustchain.dns import records
from hypermesh.trustchain.dns.records import RecordSet, name, record_set
from hypermesh.trustchain.dns.update import changes, check_prerequisites, read, touched
from hypermesh.trustchain.dns.zone import Start, Zone, changed, founded
from hypermesh.wire.errors import HyperMeshError

APEX = "mesh.example"

_DATA = {
    "A": ["192.0.2.1"],
    "AAAA": ["2001:db8::1"],
    "CAA": ['0 issue "ca.example"'],
    "CNAME": ["www.mesh.example."],
    "HTTPS": ["1 . alpn=h2,h3 port=8443 ipv6hint=2001:db8::1"],
    "MX": ["10 mail.mesh.example."],
    "SRV": ["1 2 443 www.mesh.example."],
    "TLSA": ["3 1 1 " + "ab" * 32],
    "TXT": ['"one" "two"'],
}


def _zone() -> Zone:
    apex = name(APEX)
    sets = [record_set(f"{kind}.{APEX}", kind, 300, data) for kind, data in _DATA.items()]
    servers = record_set(APEX, "NS", 300, [f"ns.{APEX}."])
    return founded(apex, Start(apex, apex), [*sets, servers], [])


_ZONE = _zone()


def updates(lots: Lots) -> list[bytes]:
    """One for each type, and one with all that an update can say."""
    made = []
    whole = dns.update.UpdateMessage(f"{APEX}.")
    for kind, [data] in _DATA.items():
        each = dns.update.UpdateMessage(f"{APEX}.")
        each.add(f"n{lots.below(9)}.{APEX}.", 60, kind, data)
        whole.add(f"n{kind}.{APEX}.", 60, kind, data)
        made.append(each.to_wire())
    whole.present(f"a.{APEX}.")
    whole.present(f"a.{APEX}.", "A", "192.0.2.1")
    whole.absent(f"b.{APEX}.", "A")
    whole.delete(f"a.{APEX}.", "A", "192.0.2.1")
    whole.delete(f"aaaa.{APEX}.", "AAAA")
    whole.delete(f"txt.{APEX}.")
    return [*made, whole.to_wire()]


def read_update(content: bytes) -> None:
    """What is carried out leaves a zone, and changes only what it said it would."""
    update = read(content)
    claimed = touched(update, _ZONE)
    made = changes(update, _ZONE)
    assert {each.key for each in made} <= claimed
    check_prerequisites(update, _ZONE)
    after = changed(_ZONE, made)
    assert after.apex == _ZONE.apex


def sets(lots: Lots) -> list[bytes]:
    """Data of each type, behind its number."""
    del lots
    made = [record_set(APEX, kind, 1, data) for kind, data in _DATA.items()]
    return [each.kind.to_bytes(2, "big") + each.data[0] for each in made]


def read_data(content: bytes) -> None:
    """What is canonical stays as it is, is read back from its text, and names read as they were."""
    try:
        whole = records.name_text(content)
    except HyperMeshError:
        whole = None
    if whole is not None:
        assert name(whole) == content.lower()
    kind = int.from_bytes(content[:2], "big")
    if kind not in records.OWN_TYPES:
        return
    data = records.canonical(kind, content[2:])
    assert records.canonical(kind, data) == data
    assert records.wire(kind, records.data_text(kind, data)) == data
    assert records.checked(RecordSet(name(APEX), kind, 1, (data,))).data == (data,)
