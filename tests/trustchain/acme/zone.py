"""An authoritative name server on loopback for the tests, over UDP, in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

Records = Callable[[str, str], Sequence[str] | None]
"""From a name, without the dot at its end, and a type to the records as text; None where there is
no such name."""


class Zone(asyncio.DatagramProtocol):
    """Answers with what `records` has; `failing` names are answered SERVFAIL."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self.failing: set[str] = set()
        self.port = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=("127.0.0.1", 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        name = question.name.to_text(omit_final_dot=True).lower()
        found = self._records(name, dns.rdatatype.to_text(question.rdtype))
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found:
            answer.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", question.rdtype, *found)
            )
        self._transport.sendto(answer.to_wire(), addr)
