"""ACME: certificates for who shows control of a name (RFC 8555, 8657, 8659, 8737, 8738, 9773).

| module | holds |
|---|---|
| `order` | states of orders, authorizations and challenges, and all transitions; pure |
| `identifier`, `csr`, `caa`, `challenge` | what names, requests, records, answers must be; pure |
| `key`, `jws`, `encoding`, `nonces` | signed requests |
| `problem` | what a client is told when something is refused |
| `policy` | what the operator decides, and all limits |
| `store`, `sqlite` | what is kept, and where |
| `issuer` | the certificate authority, as it is needed here |
| `accounts`, `orders`, `certificates` | what clients ask for |
| `validations`, `probe`, `resolver` | challenges looked at |
| `issuance` | orders that wait for their certificate |
| `application`, `places`, `server` | HTTP, the URLs, and all of it put together |
"""
