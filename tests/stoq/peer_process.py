"""A node in a process of its own: echoes upper-case, serves one region, ends with its input.

Reads one line of hex (secret keys), then certificates in lines of hex after a count; writes its
port. Run as `python peer_process.py`.
"""

from __future__ import annotations

import sys
import threading

from hypermesh.crypto.keys import QuantumKeys
from hypermesh.stoq.endpoint import Endpoint
from hypermesh.stoq.errors import EndpointClosed
from hypermesh.stoq.trust import Identity, TrustPolicy

REGION = bytes(range(16))
SIZE = 16 << 20


def main() -> None:
    lines = [bytes.fromhex(sys.stdin.readline()) for _ in range(6)]
    secret, leaf, issuing, root, genesis, peer = lines
    policy = TrustPolicy(network=genesis, roots=[root], issuers=[issuing])
    identity = Identity((leaf, issuing, root), QuantumKeys.from_secret_bytes(secret))
    with Endpoint.bind(policy=policy, identity=identity) as endpoint:
        endpoint.regions.create(REGION, SIZE)
        endpoint.regions.grant(
            REGION,
            peer,
            offset=0,
            length=SIZE,
            can_write=True,
            expires_unix_ms=2**53,
            epoch=1,
        )
        service = threading.Thread(target=serve, args=(endpoint,))
        service.start()
        sys.stdout.write(f"{endpoint.address[1]}\n")
        sys.stdout.flush()
        sys.stdin.read()
        endpoint.close("the process ends")
        service.join()


def serve(endpoint: Endpoint) -> None:
    try:
        while True:
            request = endpoint.next_request(1000)
            if request is not None:
                request.reply(request.body.upper())
    except EndpointClosed:
        return


if __name__ == "__main__":
    main()
