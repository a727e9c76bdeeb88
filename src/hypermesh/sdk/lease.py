"""Leases, whatever they are of."""

from __future__ import annotations

from hypermesh.sdk.rest import Rest
from hypermesh.wire.api.lease import LeaseView


def release(rest: Rest, lease: LeaseView) -> LeaseView:
    """Settle `lease` by its metered use."""
    return rest.request(
        LeaseView, "DELETE", f"/assets/{lease.asset}/release", query={"lease": lease.lease}
    )
