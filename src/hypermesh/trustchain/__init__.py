"""TrustChain: who is who on a network, and how a machine becomes one of its nodes.

| module | holds |
|---|---|
| `certificate` | hybrid X.509 certificates, written |
| `verify` | hybrid X.509 certificates, checked; pure |
| `alternative` | the second key and signature of a certificate: FALCON-1024 in X.509 |
| `der` | DER, as much as certificates need |
| `ca` | the certificate authority of one network, and that of a company |
| `ct` | the transparency logs, their witnesses and monitors |
| `evidence` | what the authority and the name server ask of the logs |
| `invitation` | the token that `hm invite` prints and `hm join` reads |
| `acme` | certificates for who shows control of a name: the ACME server |
| `enrolment` | from an invitation, or an old certificate, to a new one: both sides |
| `dns` | the name server: zones, logged and then served |
"""
