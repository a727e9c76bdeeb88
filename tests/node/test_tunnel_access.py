"""Who may use a service, as a table."""

from __future__ import annotations

import pytest

from hypermesh.node.tunnels.access import ServiceRefused, check
from hypermesh.wire.api.tunnel import Who

OWNER, OTHER, NODE = b"o" * 32, b"p" * 32, b"n" * 32

TABLE = [
    # who, named, the peer's owner, may
    (Who.MINE, (), OWNER, True),
    (Who.MINE, (), OTHER, False),
    (Who.MINE, (), None, False),
    (Who.MINE, (NODE, OTHER), OTHER, False),
    (Who.NAMED, (NODE,), OTHER, True),
    (Who.NAMED, (NODE,), None, True),
    (Who.NAMED, (OTHER,), OTHER, True),
    (Who.NAMED, (), OTHER, False),
    (Who.NAMED, (b"x" * 32,), OTHER, False),
    (Who.NAMED, (), OWNER, True),
    (Who.NETWORK, (), OTHER, True),
    (Who.NETWORK, (), None, True),
]


@pytest.mark.parametrize(("who", "named", "peer_owner", "may"), TABLE)
def test_who_may(who: Who, named: tuple[bytes, ...], peer_owner: bytes | None, may: bool) -> None:
    if may:
        check(who, named, OWNER, NODE, peer_owner)
    else:
        with pytest.raises(ServiceRefused) as refused:
            check(who, named, OWNER, NODE, peer_owner)
        assert refused.value.why
