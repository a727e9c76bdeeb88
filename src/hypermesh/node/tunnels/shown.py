"""What a tunnel has done, as the API shows it."""

from __future__ import annotations

from hypermesh.stoq.tunnel import Failure, Tunnel
from hypermesh.wire.api.tunnel import TunnelCounters, TunnelFailure


def counters(tunnel: Tunnel) -> TunnelCounters:
    return TunnelCounters(**tunnel.stats()._asdict())


def failure(last: Failure | None) -> TunnelFailure | None:
    if last is None:
        return None
    error = last.error
    return TunnelFailure(error.code, error.what, error.why, last.at_ms)
