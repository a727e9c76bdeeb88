"""The permission that each route asks for. A route that is not here answers nobody."""

from __future__ import annotations

from typing import Final

from hypermesh.node.api.access import Permission

OPEN, READ, LEASE = Permission.OPEN, Permission.READ, Permission.LEASE
JOBS, MANAGE, OWNER, SECRET = (
    Permission.JOBS,
    Permission.MANAGE,
    Permission.OWNER,
    Permission.SECRET,
)

PERMISSIONS: Final[dict[tuple[str, str], Permission]] = {
    ("GET", "/livez"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): READ,
    ("GET", "/metrics/performance"): READ,
    ("GET", "/events"): READ,
    ("GET", "/v1/openapi.json"): READ,
    ("GET", "/assets"): READ,
    ("GET", "/assets/{asset}"): READ,
    ("GET", "/assets/{asset}/history"): READ,
    ("POST", "/assets/register"): MANAGE,
    ("PUT", "/assets/{asset}/allocate"): LEASE,
    ("DELETE", "/assets/{asset}/release"): LEASE,
    ("POST", "/assets/{asset}/transfer"): MANAGE,
    ("POST", "/assets/{asset}/offer"): MANAGE,
    ("DELETE", "/assets/{asset}/offer"): MANAGE,
    ("POST", "/assets/{asset}/accept"): MANAGE,
    ("PUT", "/assets/{asset}/state"): MANAGE,
    ("GET", "/consensus/status"): READ,
    ("POST", "/consensus/challenge"): READ,
    ("POST", "/consensus/validate"): READ,
    ("GET", "/privacy/settings"): MANAGE,
    ("PUT", "/privacy/level"): MANAGE,
    ("POST", "/privacy/proxy"): MANAGE,
    ("GET", "/v1/network"): READ,
    ("GET", "/v1/network/health"): READ,
    ("POST", "/v1/network/invitations"): MANAGE,
    ("GET", "/v1/network/tokens"): OWNER,
    ("POST", "/v1/network/tokens"): OWNER,
    ("DELETE", "/v1/network/tokens/{token}"): OWNER,
    ("GET", "/v1/certificates"): READ,
    ("GET", "/v1/certificates/{certificate}"): READ,
    ("GET", "/v1/certificates/{certificate}/bundle"): READ,
    ("POST", "/v1/certificates/{node}/revoke"): OWNER,
    ("POST", "/v1/certificates/issuer"): OWNER,
    ("GET", "/v1/trust"): READ,
    ("POST", "/v1/trust"): OWNER,
    ("GET", "/v1/trust/introduction"): READ,
    ("GET", "/v1/trust/whatif"): READ,
    ("DELETE", "/v1/trust/{network}"): OWNER,
    ("GET", "/v1/trust/{network}/assets"): READ,
    ("GET", "/v1/stoq"): READ,
    ("GET", "/v1/stoq/connections"): READ,
    ("POST", "/v1/stoq/parcels"): MANAGE,
    ("GET", "/v1/stoq/parcels"): MANAGE,
    ("GET", "/v1/stoq/parcels/{parcel}"): MANAGE,
    ("DELETE", "/v1/stoq/parcels/{parcel}"): MANAGE,
    # A service can lead to whatever the node's user may reach, also to what a token may not.
    ("GET", "/v1/stoq/tunnels"): MANAGE,
    ("POST", "/v1/stoq/tunnels"): OWNER,
    ("DELETE", "/v1/stoq/tunnels/{tunnel}"): OWNER,
    ("GET", "/v1/stoq/tunnels/services"): MANAGE,
    ("POST", "/v1/stoq/tunnels/services"): OWNER,
    ("DELETE", "/v1/stoq/tunnels/services/{name}"): OWNER,
    # A file is named by its path on the node's machine, also one that a token may not see.
    ("POST", "/v1/transfers"): OWNER,
    ("GET", "/v1/transfers"): MANAGE,
    ("GET", "/v1/transfers/{transfer}"): MANAGE,
    ("GET", "/v1/transfers/{transfer}/proof"): MANAGE,
    ("DELETE", "/v1/transfers/{transfer}"): OWNER,
    ("GET", "/v1/inbox"): MANAGE,
    ("GET", "/v1/inbox/{transfer}/proof"): MANAGE,
    ("GET", "/v1/inbox/senders"): MANAGE,
    ("PUT", "/v1/inbox/senders/{owner}"): OWNER,
    ("DELETE", "/v1/inbox/senders/{owner}"): OWNER,
    ("GET", "/v1/catalog"): READ,
    ("GET", "/v1/caesar"): READ,
    ("GET", "/v1/mfn"): READ,
    ("GET", "/v1/ct"): READ,
    ("GET", "/v1/ct/{log}/{resource}"): READ,
    # Programs that ask whether a certificate is revoked have no token of the node they ask.
    ("POST", "/v1/ocsp"): OPEN,
    ("GET", "/v1/crl"): OPEN,
    ("GET", "/v1/dns"): READ,
    ("GET", "/v1/dns/names"): READ,
    ("GET", "/v1/dns/resolve"): READ,
    ("PUT", "/v1/dns/phase"): MANAGE,
    ("GET", "/v1/dns/labels"): READ,
    ("PUT", "/v1/dns/labels/{label}"): MANAGE,
    ("DELETE", "/v1/dns/labels/{label}"): MANAGE,
    ("GET", "/v1/proxy"): READ,
    ("GET", "/v1/senate"): READ,
    ("GET", "/v1/ngauge"): READ,
    ("GET", "/v1/nodes"): READ,
    ("GET", "/v1/nodes/{node}"): READ,
    ("GET", "/v1/nodes/{node}/attestation"): READ,
    ("GET", "/v1/leases"): READ,
    ("GET", "/v1/leases/{lease}"): READ,
    ("GET", "/v1/leases/{lease}/receipt"): READ,
    ("GET", "/v1/leases/{lease}/session"): SECRET,
    ("POST", "/v1/leases/{lease}/measurements"): LEASE,
    ("POST", "/v1/jobs"): JOBS,
    ("GET", "/v1/jobs"): JOBS,
    ("GET", "/v1/jobs/{job}"): JOBS,
    ("GET", "/v1/jobs/{job}/output"): JOBS,
    ("DELETE", "/v1/jobs/{job}"): JOBS,
    ("GET", "/v1/memory"): READ,
    ("GET", "/v1/attempts"): MANAGE,
    ("POST", "/v1/attempts/{name}"): OWNER,
    ("GET", "/v1/memory/{lease}"): READ,
    ("GET", "/v1/blocks"): READ,
    ("GET", "/v1/blocks/{height}"): READ,
    ("POST", "/v1/transactions"): MANAGE,
    ("GET", "/v1/transactions/{transaction}"): READ,
    ("GET", "/v1/accounts/me"): READ,
    ("GET", "/v1/accounts/{owner}"): READ,
    ("GET", "/v1/accounts/{owner}/entries"): READ,
    ("POST", "/v1/accounts/transfer"): MANAGE,
}

API_ROOTS: Final = frozenset(path.split("/")[1] for _, path in PERMISSIONS)
"""First segments of the paths of the API; pages of the dashboard have others."""


def permission(method: str, template: str) -> Permission | None:
    """What the route with this method and path template asks for."""
    # An answer to OPTIONS says which methods a path takes, as the OpenAPI document does.
    return OPEN if method == "OPTIONS" else PERMISSIONS.get((method, template))
