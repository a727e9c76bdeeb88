"""The transparency logs: what the authority and the name server did, where everybody can check it.

Pure: `tree` (hashes and checking of proofs), `tiles` (geometry and making of proofs), `entry`,
`sct`, `note`, `checkpoint`, `proof`, `precertificate`. Shells: `store` (SQLite), `log` (sequencing,
and what others read), `recorder` (the two protocols of `trustchain.evidence`), `witness`, `watch`.
`rfc6962` has the RFC's endpoints. `docs/decisions/0018-transparency-log.md` says why.
"""
