"""Certificate authorities: of one network, and of a company.

Everything they hand out is on the disk first, and asking again gives the same bytes: a crash
between two steps, or a lost answer, is repaired by repeating the request.

| module | holds |
|---|---|
| `authority`, `invitations` | the authority of one network: its nodes, whom it invited |
| `ceremony`, `rotation` | the offline root of a company; how an issuing CA is made and replaced |
| `issuing` | the issuing CA: `issue`, `issue_all`, `revoke`, `status`, `renewal` |
| `request` | PKCS#10 requests, their proofs and refusals |
| `names`, `policy` | what a certificate may name, and who may have it named |
| `profile`, `algorithm` | kinds of certificates, profiles of algorithms: tables |
| `content`, `lint` | what stands in a certificate; what must not |
| `signer`, `token` | keys in the key store, keys in a PKCS#11 token |
| `ocsp`, `lists`, `renewal` | what others are told: status, revocation lists, when to renew |
| `store`, `tables`, `audit` | what is kept, and the log of what was done |
| `sqlite_store`, `postgresql_store` | the same tables in a file, and in a database |
"""
