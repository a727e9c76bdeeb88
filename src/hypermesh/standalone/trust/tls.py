"""TLS 1.3 of the API, by a certificate of the server's own authority.

The certificate is renewed in the middle of its life. Each handshake gets the one of that moment, so
open connections go on and nothing listens anew. Client certificates are asked for, not demanded;
what was revoked is refused when a request comes (`guard`). The key never touches a file in the
clear but in the key store: OpenSSL reads it from anonymous memory.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from cryptography import x509

from hypermesh.crypto.keystore import KeyStore
from hypermesh.standalone.trust.granting import SERVER, own_names
from hypermesh.standalone.trust.settings import Settings
from hypermesh.trustchain.ca.algorithm import KeyKind
from hypermesh.trustchain.ca.issuing import IssuedCertificate, IssuingAuthority, Order
from hypermesh.trustchain.ca.profile import Kind
from hypermesh.trustchain.ca.request import write_request
from hypermesh.trustchain.ca.signer import KeySigner, stored_signer
from hypermesh.trustchain.dns.server import Certificate

SECRET = "tls"


class ServerCertificate:
    """The server's present certificate, and the context to listen with."""

    def __init__(self, authority: IssuingAuthority, settings: Settings, keys: KeyStore) -> None:
        """`authority` must be able to issue. Nothing is issued before `renew`."""
        self._authority = authority
        self._settings = settings
        self._signer: KeySigner
        self._signer, _ = stored_signer(keys, SECRET, KeyKind.P256, is_hybrid=False)
        self._issued: IssuedCertificate | None = None
        self._present = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context = self._present

    @property
    def certificate(self) -> Certificate:
        """Leaf and issuing certificate with the leaf's key, for the name server."""
        chain = () if self._issued is None else self._issued.chain[:-1]
        return Certificate(chain, self._signer.pkcs8())

    @property
    def not_after_s(self) -> int:
        """When the present certificate ends, seconds since 1970; 0 where there is none."""
        return 0 if self._issued is None else self._issued.not_after_s

    def is_due(self, now_s: int) -> bool:
        """Whether half of the certificate's life is over, or there is none yet."""
        issued = self._issued
        return issued is None or now_s >= (issued.not_before_s + issued.not_after_s) // 2

    def renew(
        self,
        now_s: int,
        authority: IssuingAuthority | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Have a new certificate, of another authority or for the hosts of other settings where
        they are given; those who connect from now on see it. Raises as `IssuingAuthority.issue`."""
        self._authority = authority or self._authority
        names = own_names(settings or self._settings)
        request = write_request(self._signer, x509.Name([]), names)
        # The time is the reference: each renewal is an order of its own.
        order = Order(request, Kind.SERVICE, SERVER, reference=now_s.to_bytes(8, "big"))
        self._issued = self._authority.issue(order, now_s)
        self._settings = settings or self._settings
        present = self._loaded(self._issued)
        if self._present is self.context:
            self.context = self._loaded(self._issued)
            self.context.sni_callback = self._choose
        self._present = present

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = self._present

    def _loaded(self, issued: IssuedCertificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = ssl.CERT_OPTIONAL
        # A client may send its leaf alone: this authority's issuer is an anchor of its own.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=b"".join(issued.chain[1:]))
        pem = "".join(ssl.DER_cert_to_PEM_cert(each) for each in issued.chain[:-1])
        pem += ssl.DER_cert_to_PEM_cert(self._signer.pkcs8()).replace("CERTIFICATE", "PRIVATE KEY")
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem.encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return context
