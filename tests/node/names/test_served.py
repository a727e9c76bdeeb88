"""Names of a network of real nodes, asked for by others' tools: dig, kdig, delv, curl."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from tests.node.acts import acts
from tests.node.network import Network, Node, eventually, hm

from hypermesh.node.authority_logs import PhaseAct
from hypermesh.trustchain.dns.records import name, record_set
from hypermesh.trustchain.dns.resolution import SourceUnavailable
from hypermesh.trustchain.dns.server import NameServer, Settings
from hypermesh.trustchain.dns.zone import Start, Zone
from hypermesh.wire.api.dns import DnsResolved, DnsView
from hypermesh.wire.api.event import NameEvent, PhaseEvent
from hypermesh.wire.api.privacy import PrivacyChange
from hypermesh.wire.asset import AssetKind, PrivacyLevel
from hypermesh.wire.codec import encode

TOOL_S = 30.0


def needs(*tools: str) -> pytest.MarkDecorator:
    missing = [each for each in tools if shutil.which(each) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def upstream() -> Iterator[NameServer]:
    """Traditional DNS, in which a test puts what it likes."""
    server = NameServer(Settings((("::1", 0),), workers=1))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, upstream: NameServer) -> Iterator[Network]:
    """Alice, whose assets everybody may see and who asks `upstream`; bob, whose are private."""
    network = Network(tmp_path_factory.mktemp("d"))
    try:
        network.add("alice", dns_upstream=f"[::1]:{upstream.port('udp')}").start()
        network.add("bob", level="private").start(network.invite())
        yield network
    finally:
        network.end()


def view(node: Node) -> DnsView:
    return node.ask(lambda m: m.dns.status())


def port(node: Node) -> int:
    return next(each.port for each in view(node).addresses if each.transport == "udp")


def apex(node: Node) -> str:
    return view(node).zones[0].zone


def name_of(node: Node) -> str:
    return f"{node.id[:8].hex()}.{node.membership.genesis_id[:5].hex()}.hm.internal"


def asset_name(node: Node) -> str:
    return f"{node.asset(AssetKind.MEMORY).asset}.{name_of(node)}"


def dig(node: Node, *words: str) -> str:
    """What dig prints, with its status line."""
    command = ["dig", "@::1", "-p", str(port(node)), "+nocookie", "+tries=3", *words]
    done = subprocess.run(command, capture_output=True, timeout=TOOL_S, check=False)
    return done.stdout.decode()


def short(node: Node, *words: str) -> list[str]:
    return dig(node, "+short", *words).splitlines()


def knows(node: Node, owner: str) -> None:
    eventually(lambda: short(node, owner, "AAAA"), f"{node.name} serves {owner}")


def resolved(node: Node, owner: str, kind: str = "AAAA") -> DnsResolved:
    return node.ask(lambda m: m.dns.resolve(owner, kind))


@needs("dig")
def test_every_node_serves_the_names_of_all(mesh: Network) -> None:
    alice, bob = mesh.alice, mesh.bob
    assert port(alice) != port(bob)
    wanted = {
        (name_of(alice), "SVCB"): 'alpn="hm/1"',
        (asset_name(alice), "TXT"): str(alice.asset(AssetKind.MEMORY).address),
        (asset_name(alice), "SVCB"): f"endpoint.{name_of(alice)}.",
        (f"_stoq._udp.{asset_name(alice)}", "SRV"): f"endpoint.{name_of(alice)}.",
        (f"endpoint.{name_of(alice)}", "AAAA"): "::1",
        (name_of(bob), "TXT"): bob.id.hex(),
    }
    for asked in (alice, bob):
        for (owner, kind), part in wanted.items():
            eventually(
                lambda asked=asked, owner=owner, kind=kind, part=part: any(  # type: ignore[misc]
                    part in line for line in short(asked, owner, kind)
                ),
                f"{asked.name} says {part} of {owner} {kind}",
            )
        [view_of_asset] = short(asked, asset_name(alice), "AAAA")
        assert short(asked, "-x", view_of_asset) == [f"{asset_name(alice)}."]


@needs("dig")
def test_the_certificate_is_the_one_of_the_ledger(mesh: Network) -> None:
    alice = mesh.alice
    [service] = short(alice, f"_stoq._udp.{name_of(alice)}", "SRV")
    _, _, stoq, target = service.split()
    owner = f"_{stoq}._udp.{target}"
    [tlsa] = short(alice, owner, "TLSA")
    sha256 = alice.ask(lambda m: m.certificates.get()).certificate.sha256
    assert tlsa.replace(" ", "").lower() == f"301{sha256}"


@needs("dig")
def test_what_is_not_public_is_not_there(mesh: Network) -> None:
    alice, bob = mesh.alice, mesh.bob
    knows(alice, name_of(bob))
    assert "status: NXDOMAIN" in dig(alice, asset_name(bob))
    assert "status: NXDOMAIN" in dig(bob, asset_name(bob))
    knows(alice, asset_name(alice))
    asset = alice.asset(AssetKind.MEMORY).asset
    for level, status in ((PrivacyLevel.P2P, "NXDOMAIN"), (PrivacyLevel.FULL_PUBLIC, "NOERROR")):
        alice.ask(lambda m, level=level: m.privacy.change(PrivacyChange(asset=asset, level=level)))  # type: ignore[misc]
        for asked in (alice, bob):
            eventually(
                lambda asked=asked, status=status: (  # type: ignore[misc]
                    f"status: {status}" in dig(asked, asset_name(alice))
                ),
                f"{asked.name} answers {status} at level {level}",
            )


@needs("dig")
def test_the_zone_says_at_which_height_it_stands(mesh: Network) -> None:
    alice = mesh.alice

    def stands() -> bool:
        [soa] = short(alice, apex(alice), "SOA")
        [said] = short(alice, f"_ledger.{apex(alice)}", "TXT")
        status = alice.ask(lambda m: m.network.status())
        return (
            soa.split()[2] == str(status.height)
            and f'"height={status.height}"' in said
            and f'"app_hash={status.app_hash}"' in said
        )

    eventually(stands, "the zone stands where the ledger stands")


def anchors(directory: Path, zone: str, key: str) -> Path:
    flags, protocol, algorithm, *key_parts = key.split()
    file = directory / "anchors"
    secret = "".join(key_parts)
    file.write_text(
        f'trust-anchors {{ {zone} static-key {flags} {protocol} {algorithm} "{secret}"; }};\n'
    )
    return file


@needs("delv")
def test_the_names_are_signed(mesh: Network, tmp_path: Path) -> None:
    alice = mesh.alice
    knows(alice, asset_name(alice))
    at = str(port(alice))

    def delved(zone: str, key: str, *words: str) -> str:
        file = anchors(tmp_path, zone, key)
        command = ["delv", "-a", str(file), f"+root={zone}", "@::1", "-p", at, *words]
        done = subprocess.run(command, capture_output=True, timeout=TOOL_S, check=False)
        return (done.stdout + done.stderr).decode()

    zones = view(alice).zones
    assert [each.zone for each in zones][2] == "hypermesh.online"
    for zone, owner in zip(
        zones,
        (asset_name(alice), zones[1].zone, "trust.hypermesh.online"),
        strict=True,
    ):
        kind = "NS" if owner == zone.zone else "AAAA"
        assert "; fully validated" in delved(zone.zone, zone.dnskey, owner, kind)
        denied = delved(zone.zone, zone.dnskey, f"nobody.{zone.zone}", "AAAA")
        assert "; negative response, fully validated" in denied
    other = bytes(range(32)).hex()
    foreign = view(mesh.bob).zones[0].dnskey
    assert other not in foreign
    assert "validated" not in delved(zones[0].zone, foreign, asset_name(alice), "AAAA")


@needs("kdig")
def test_over_tcp_and_what_is_refused(mesh: Network) -> None:
    alice = mesh.alice
    knows(alice, asset_name(alice))

    def kdig(*words: str) -> str:
        command = ["kdig", "@::1", "-p", str(port(alice)), *words]
        done = subprocess.run(command, capture_output=True, timeout=TOOL_S, check=False)
        return (done.stdout + done.stderr).decode()

    assert "RRSIG" in kdig("+tcp", "+dnssec", asset_name(alice), "TXT")
    assert "REFUSED" in kdig(apex(alice), "AXFR") or "refused" in kdig(apex(alice), "AXFR").lower()
    assert "status: REFUSED" in kdig("+norec", "www.example", "AAAA")


@needs("dig", "curl")
def test_the_names_of_this_machine_lead_here(mesh: Network, tmp_path: Path) -> None:
    alice = mesh.alice
    status = alice.ask(lambda m: m.network.status())
    assert status.dns == f"[::1]:{port(alice)}"
    assert status.tls is not None
    tls = status.tls.rpartition(":")[2]
    bundle = tmp_path / "roots.pem"
    words = ("trust", "install", "--bundle", str(bundle), "--yes")
    assert hm(*words, data=alice.data).returncode == 0

    def fetch(host: str, *more: str) -> subprocess.CompletedProcess[bytes]:
        address = f"{host}:{tls}:[::1]"
        command = ["curl", "-sS", "--resolve", address, *more, f"https://{host}:{tls}/livez"]
        return subprocess.run(command, capture_output=True, timeout=TOOL_S, check=False)

    for service in ("trust", "assets", "caesar", "stoq"):
        host = f"{service}.hypermesh.online"
        assert short(alice, host, "AAAA") == ["::1"]
        assert f"port={tls}" in short(alice, host, "HTTPS")[0]
        assert fetch(host, "--cacert", str(bundle)).returncode == 0
    unknown = fetch("www.hypermesh.online", "--cacert", str(bundle))
    assert unknown.returncode == 60
    assert fetch("trust.hypermesh.online").returncode == 60


@needs("dig")
def test_names_that_owners_choose(mesh: Network) -> None:
    alice, bob = mesh.alice, mesh.bob
    zone = apex(alice)
    knows(bob, name_of(bob))
    assert hm("dns", "add", "desk", "alice", data=alice.data).returncode == 0
    memory = alice.asset(AssetKind.MEMORY).asset
    assert hm("dns", "add", "big", memory, data=alice.data).returncode == 0
    hidden = bob.asset(AssetKind.MEMORY).asset
    assert hm("dns", "add", "hidden", hidden, data=bob.data).returncode == 0
    for asked in (alice, bob):
        for label, owner in (("desk", name_of(alice)), ("big", asset_name(alice))):
            eventually(
                lambda asked=asked, label=label, owner=owner: (  # type: ignore[misc]
                    f"{owner}." in short(asked, f"{label}.{zone}", "AAAA")
                ),
                f"{asked.name} knows {label}",
            )
        assert "status: NXDOMAIN" in dig(asked, f"hidden.{zone}", "AAAA")
    taken = hm("dns", "add", "desk", "bob", data=bob.data)
    assert taken.returncode == 6
    assert b"HM-TX-NAME-0002" in taken.stderr
    assert b"HM-TX-NAME-0003" in hm("dns", "add", "lap", "bob", data=alice.data).stderr
    assert hm("dns", "add", "trust", "alice", data=alice.data).returncode == 2
    labels = {each.label: each for each in alice.ask(lambda m: list(m.dns.labels()))}
    assert {label: each.answered for label, each in labels.items()} == {
        "desk": True,
        "big": True,
        "hidden": False,
    }
    assert [labels[each].mine for each in ("desk", "big", "hidden")] == [True, True, False]
    assert hm("dns", "rm", "desk", data=alice.data).returncode == 0
    eventually(
        lambda: "status: NXDOMAIN" in dig(bob, f"desk.{zone}", "AAAA"), "what was dropped is gone"
    )
    assert hm("dns", "rm", "big", data=bob.data).returncode == 4
    with alice.mesh() as mesh:
        told = [each.data for each in islice(mesh.events("0.0", ["name"]), 4)]
    assert [(each.label, each.what) for each in told if isinstance(each, NameEvent)] == [
        ("desk", "added"),
        ("big", "added"),
        ("hidden", "added"),
        ("desk", "dropped"),
    ]
    said = [
        operation.words
        for block in alice.ask(lambda m: list(m.ledger.blocks()))
        for operation in block.operations
        if operation.type.startswith("name.")
    ]
    assert any(each.endswith("calls node alice desk") for each in said), said
    assert any("gives up the name desk" in each for each in said)


@needs("dig")
def test_phases(mesh: Network, upstream: NameServer) -> None:
    alice = mesh.alice
    knows(alice, asset_name(alice))
    zone, own, asset = apex(alice), name_of(alice), asset_name(alice)
    only = f"only.{zone}"
    [true] = short(alice, own, "AAAA")
    sets = [
        record_set(zone, "NS", 60, [f"ns.{zone}."]),
        record_set(own, "AAAA", 60, [true]),
        record_set(asset, "AAAA", 60, ["2001:db8::bad"]),
        record_set(only, "AAAA", 60, ["2001:db8::1"]),
    ]
    start = Start(name(f"ns.{zone}"), name(f"hostmaster.{zone}"), minimum_s=0)
    traditional = Zone(name(zone), start, 1, {each.key: each for each in sets})
    elsewhere = record_set("www.example", "AAAA", 0, ["2001:db8::80"])
    example = record_set("example", "NS", 60, ["ns.example."])
    other = Zone(name("example"), start, 1, {each.key: each for each in (elsewhere, example)})
    upstream.put([(traditional, None), (other, None)])

    def said(owner: str) -> tuple[str, str, list[str]]:
        found = resolved(alice, owner)
        return found.origin, found.agreement, found.data

    assert said(asset) == ("ledger", "not asked", short(alice, asset, "AAAA"))
    assert not resolved(alice, only).exists
    assert said("www.example") == ("dns", "not asked", ["2001:db8::80"])
    assert short(alice, "www.example", "AAAA") == ["2001:db8::80"]
    assert "RRSIG" in dig(alice, "+dnssec", own, "AAAA")

    alice.ask(lambda m: m.dns.switch(1))
    assert said(own) == ("dns", "agrees", [true])
    assert said(asset) == ("dns", "differs", ["2001:db8::bad"])
    assert said(only) == ("dns", "differs", ["2001:db8::1"])
    assert short(alice, asset, "AAAA") == ["2001:db8::bad"]
    assert "ledger differs" in dig(alice, asset, "AAAA")
    # Nobody can sign what two sources may say differently.
    assert "RRSIG" not in dig(alice, "+dnssec", own, "AAAA")

    alice.ask(lambda m: m.dns.switch(2))
    assert said(asset)[0] == "ledger"
    assert said(only) == ("dns", "not asked", ["2001:db8::1"])
    assert short(alice, only, "AAAA") == ["2001:db8::1"]

    assert alice.stop() == 0
    alice.begin()
    alice.ready()
    assert view(alice).phase == 2
    knows(alice, asset)
    assert hm("dns", "phase", "0", data=alice.data).stdout.startswith(b"phase 0: traditional DNS")
    assert said(asset) == ("dns", "not asked", ["2001:db8::bad"])

    switched: list[PhaseEvent] = []

    def listen() -> None:
        with alice.mesh() as mesh:
            for event in mesh.events(None, ["phase", "live"]):
                if isinstance(event.data, PhaseEvent):
                    switched.append(event.data)
                    return
                heard.set()

    heard = threading.Event()
    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    assert heard.wait(TOOL_S), "the stream has begun"
    alice.ask(lambda m: m.dns.switch(3))
    listening.join(TOOL_S)
    assert [(each.before, each.phase) for each in switched] == [(0, 3)]
    assert said(asset)[0] == "ledger"
    assert "RRSIG" in dig(alice, "+dnssec", own, "AAAA")
    assert "status: NXDOMAIN" in dig(alice, only, "AAAA")
    # Alice holds the network's authority: each change of her phase is in its log of acts.
    said_phases = [leaf.document for leaf in acts(alice) if leaf.kind == PhaseAct.kind]
    assert said_phases == [encode(PhaseAct(phase)) for phase in (1, 2, 0, 3)]
    alice.ask(lambda m: m.dns.switch(3))
    assert len([leaf for leaf in acts(alice) if leaf.kind == PhaseAct.kind]) == len(said_phases)


def test_a_phase_that_asks_nobody_is_refused(mesh: Network) -> None:
    done = hm("dns", "phase", "1", data=mesh.bob.data)
    assert done.returncode == 6
    assert b"HM-DNS-0021" in done.stderr
    assert view(mesh.bob).phase == 3


def test_a_node_without_names_is_a_node(mesh: Network) -> None:
    """Where the port is taken, or the settings say off, the rest goes on."""
    bob = mesh.bob
    assert bob.stop() == 0
    bob.dns_listen = "off"
    bob.begin()
    bob.ready()
    found = view(bob)
    assert (found.addresses, found.failure) == ([], "the settings say off")
    assert bob.ask(lambda m: m.network.status()).dns is None
    eventually(lambda: resolved(bob, name_of(mesh.alice)).exists, "it still knows the names")
    assert bob.stop() == 0
    # 192.0.2.1 is no address of this machine (RFC 5737).
    bob.dns_listen = "192.0.2.1:5353"
    bob.begin()
    bob.ready()
    assert "192.0.2.1:5353" in (view(bob).failure or "")
    assert bob.stop() == 0
    bob.dns_listen = "[::1]:0"
    bob.begin()
    bob.ready()
    assert view(bob).addresses


def test_where_the_other_servers_are_silent(mesh: Network, upstream: NameServer) -> None:
    alice = mesh.alice
    upstream.stop()
    with pytest.raises(SourceUnavailable):
        resolved(alice, "www.silent.example")
    alice.ask(lambda m: m.dns.switch(2))
    try:
        eventually(lambda: resolved(alice, name_of(alice)).exists, "the ledger answers alone")
    finally:
        alice.ask(lambda m: m.dns.switch(3))


@needs("dig")
def test_a_revoked_node_has_no_names(mesh: Network) -> None:
    alice, bob = mesh.alice, mesh.bob
    knows(alice, name_of(bob))
    alice.ask(lambda m: m.certificates.revoke(bob.id.hex(), "a test"))
    eventually(
        lambda: "status: NXDOMAIN" in dig(alice, name_of(bob)), "the name of a revoked node is gone"
    )
    assert short(alice, name_of(alice), "AAAA")
