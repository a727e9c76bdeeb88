"""What the ACME server asks of the DNS and takes from it, against name servers by dnspython."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import uvloop

from hypermesh.trustchain.acme import stub
from hypermesh.trustchain.acme.caa import CaaRecord
from hypermesh.trustchain.acme.problem import AcmeRefusal
from hypermesh.trustchain.acme.resolver import CACHED_MAX, CACHED_S_MAX, DnsResolver

Change = Callable[[dns.message.Message], None]
Send = Callable[[bytes], None]


class Server(asyncio.DatagramProtocol):
    """Answers what is in `sets` ((name, type) to records), as `change` alters it; what `instead`
    sends comes first. Answers of TCP are those of UDP without `change`."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], Sequence[str]] = {}
        self.ttl = 60
        self.change: Change = lambda _: None
        self.instead: Callable[[bytes, Send], bool] = lambda _query, _send: False
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        def send(message: bytes) -> None:
            self._transport.sendto(message, addr)

        if not self.instead(data, send):
            answer = self._answer(data)
            self.change(answer)
            send(answer.to_wire())

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = self._answer(await reader.readexactly(size)).to_wire(max_size=65535)
        writer.write(len(answer).to_bytes(2, "big") + answer)
        await writer.drain()
        writer.close()

    def _answer(self, data: bytes) -> dns.message.Message:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        records = self.sets.get((name, kind))
        if records:
            found = dns.rrset.from_text(question.name, self.ttl, "IN", kind, *records)
            answer.answer.append(found)
        return answer


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Server]:
    listener, transport, server = await both()
    stream = await asyncio.start_server(server.stream, sock=listener)
    try:
        yield server
    finally:
        transport.close()
        stream.close()


async def both() -> tuple[socket.socket, asyncio.DatagramTransport, Server]:
    """One port for both transports, as a resolver has it; others may take it in between."""
    loop = asyncio.get_running_loop()
    for _ in range(100):
        listener = socket.create_server(("127.0.0.1", 0))
        try:
            return listener, *await loop.create_datagram_endpoint(
                Server, local_addr=listener.getsockname()
            )
        except OSError:
            listener.close()
    raise AssertionError("no port is free for both")


def run(test: Callable[[Server, DnsResolver], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), served() as server:
            await test(server, DnsResolver("127.0.0.1", server.port))

    uvloop.run(whole())


def soa(owner: str, ttl: int, minimum: int) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, ttl, "IN", "SOA", f"ns. mail. 1 2 3 4 {minimum}")


def test_records_of_every_kind_are_read() -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        server.sets = {
            ("a.example", "A"): ["192.0.2.1", "192.0.2.2"],
            ("a.example", "AAAA"): ["2001:db8::1"],
            ("_acme-challenge.a.example", "TXT"): ['"one" "two"', '"\\255"'],
            ("a.example", "CAA"): ['128 issue "ca.example; a=b"', '0 iodef "mailto:a@b"'],
        }
        found = await resolver.addresses("a.example")
        assert found[0] == ipaddress.ip_address("2001:db8::1"), "IPv6 first"
        assert {str(each) for each in found[1:]} == {"192.0.2.1", "192.0.2.2"}
        texts = await resolver.texts("_acme-challenge.a.example")
        assert set(texts) == {b"onetwo", b"\xff"}
        assert set(await resolver.caa("a.example")) == {
            CaaRecord(128, "issue", "ca.example; a=b"),
            CaaRecord(0, "iodef", "mailto:a@b"),
        }
        assert await resolver.texts("nothing.example") == []
        with pytest.raises(AcmeRefusal, match="no address"):
            await resolver.addresses("nothing.example")

    run(test)


def test_aliases_lead_to_what_is_read() -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        def aliased(answer: dns.message.Message) -> None:
            owner = answer.question[0].name
            answer.answer = [
                dns.rrset.from_text(owner, 60, "IN", "CNAME", "b.example."),
                dns.rrset.from_text("b.example.", 60, "IN", "TXT", '"there"'),
                dns.rrset.from_text("c.example.", 60, "IN", "TXT", '"elsewhere"'),
            ]

        server.change = aliased
        assert await resolver.texts("a.example") == [b"there"]

    run(test)


def test_a_long_answer_is_asked_for_over_tcp() -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        server.sets[("a.example", "TXT")] = [f'"{number:0200}"' for number in range(30)]

        def cut(answer: dns.message.Message) -> None:
            answer.answer = []
            answer.flags |= dns.flags.TC

        server.change = cut
        assert len(await resolver.texts("a.example")) == 30

    run(test)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.BADVERS])
def test_a_failure_is_not_nothing(rcode: dns.rcode.Rcode) -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        server.change = lambda answer: answer.set_rcode(rcode)
        for ask in (resolver.addresses, resolver.texts, resolver.caa):
            with pytest.raises(AcmeRefusal, match=f"code {int(rcode)}"):
                await ask("a.example")
        server.change = lambda answer: answer.set_rcode(dns.rcode.NXDOMAIN)
        assert await resolver.caa("a.example") == []

    run(test)


def test_what_is_no_answer_to_the_question_is_passed_over() -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        server.sets[("a.example", "TXT")] = ['"true"']

        def forged(data: bytes, send: Send) -> bool:
            query = dns.message.from_wire(data)
            false = dns.message.make_response(query)
            name = query.question[0].name
            false.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", '"false"'))
            false.id ^= 1
            send(false.to_wire())
            other = dns.message.make_query("other.example", "TXT", id=query.id)
            send(dns.message.make_response(other).to_wire())
            send(data)
            send(data[:5])
            return False

        server.instead = forged
        assert await resolver.texts("a.example") == [b"true"]

    run(test)


def test_a_lost_question_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub, "TRY_S", 0.05)

    async def test(server: Server, resolver: DnsResolver) -> None:
        server.sets[("a.example", "TXT")] = ['"there"']
        came: list[bytes] = []

        def lost(data: bytes, _send: Send) -> bool:
            came.append(data)
            return len(came) == 1

        server.instead = lost
        # On a machine that is busy the answer to the second may come after the last.
        with contextlib.suppress(AcmeRefusal):
            assert await resolver.texts("a.example") == [b"there"]
        assert len(came) > 1
        assert set(came) == {came[0]}
        server.instead = lambda _data, _send: True
        with pytest.raises(AcmeRefusal, match="no answer within"):
            await resolver.texts("a.example")

    run(test)


def test_nobody_there_is_heard_of_at_once() -> None:
    async def whole() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        with pytest.raises(AcmeRefusal, match="cannot be looked up"):
            await DnsResolver("127.0.0.1", port).texts("a.example")

    uvloop.run(whole())


@pytest.mark.parametrize("name", ["", "a..example", "a" * 64, "a b.example", ".".join(["a"] * 128)])
def test_a_name_that_is_none_is_not_asked_for(name: str) -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        with pytest.raises(AcmeRefusal, match="cannot be looked up"):
            await resolver.texts(name)
        assert server.asked == []

    run(test)


def test_caa_is_remembered_as_long_as_it_says() -> None:
    async def whole() -> None:
        async with asyncio.timeout(60), served() as server:
            now_s = [1000.0]
            resolver = DnsResolver("127.0.0.1", server.port, lambda: now_s[0])
            server.sets[("a.example", "CAA")] = ['0 issue "ca.example"']

            async def asked(name: str, times: int) -> bool:
                before = len(server.asked)
                for _ in range(times):
                    await resolver.caa(name)
                return len(server.asked) > before

            assert await asked("a.example", 3)
            now_s[0] += server.ttl - 1
            assert not await asked("a.example", 1)
            now_s[0] += 1
            assert await asked("a.example", 1)
            server.ttl = 10 * CACHED_S_MAX
            now_s[0] += 60
            await asked("a.example", 1)
            now_s[0] += CACHED_S_MAX
            assert await asked("a.example", 1), "no longer than it is kept at all"

            # That there is nothing: as long as the zone's SOA says, and without one not at all.
            assert await asked("b.example", 1)
            assert await asked("b.example", 1)
            server.change = lambda answer: answer.authority.append(soa("example.", 90, 30))
            assert await asked("b.example", 1)
            now_s[0] += 29
            assert not await asked("b.example", 1)
            now_s[0] += 1
            assert await asked("b.example", 1)
            server.change = lambda answer: answer.set_rcode(dns.rcode.SERVFAIL)
            now_s[0] += 30
            for _ in range(2):
                with pytest.raises(AcmeRefusal):
                    await resolver.caa("b.example")

    uvloop.run(whole())


def test_as_much_is_remembered_as_may() -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        server.change = lambda answer: answer.authority.append(soa(".", 90, 90))
        for number in range(CACHED_MAX):
            resolver._kept[f"n{number}.example"] = (float("inf"), [])
        await resolver.caa("one.example")
        assert len(resolver._kept) == CACHED_MAX
        await resolver.caa("one.example")
        assert server.asked == [("one.example", "CAA")]

    run(test)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("A", b"\x7f\0\0"),
        ("AAAA", b"\0" * 17),
        ("TXT", b"\4abc"),
        ("TXT", b""),
        ("CAA", b"\0"),
        ("CAA", b"\0\0x"),
        ("CAA", b"\0\x05issu"),
        ("CAA", b"\0\1-"),
    ],
)
def test_data_that_are_none_are_refused(kind: str, data: bytes) -> None:
    async def test(server: Server, resolver: DnsResolver) -> None:
        def instead(query: bytes, send: Send) -> bool:
            end = query.index(b"\0", 12) + 5
            if int.from_bytes(query[end - 4 : end - 2], "big") != dns.rdatatype.from_text(kind):
                send(query[:2] + b"\x81\x80\0\1\0\0\0\0\0\0" + query[12:end])
                return True
            head = query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end]
            record = b"\xc0\x0c" + query[end - 4 : end] + b"\0\0\0\x3c"
            send(head + record + len(data).to_bytes(2, "big") + data)
            return True

        server.instead = instead
        ask = {"TXT": resolver.texts, "CAA": resolver.caa}.get(kind, resolver.addresses)
        with pytest.raises(AcmeRefusal, match="that is none"):
            await ask("a.example")

    run(test)
