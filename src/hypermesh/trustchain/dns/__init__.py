"""DNS: an authoritative name server for the mesh's zones, whose every change is in the log first.

| module | holds |
|---|---|
| `records` | sets of records, from and to the text of master files; pure |
| `zone` | what a zone may hold, and how it changes; pure |
| `keys` | the key of a zone, its DNSKEY, CDS and DS records |
| `published` | zones that are stored, logged and then served |
| `server` | the name server's sockets and settings |
| `update` | dynamic updates (RFC 2136); pure |
| `rights` | which names a certificate may change; pure |
| `resolution` | the phases between DNS and ledger, and which source answered; pure |
| `forwarding` | recursive lookups at configured servers |
| `responder` | what joins the last four to the server |

Messages, lookups and signatures are in Rust (`crates/hm-dns`). Names and data are bytes in the form
of the wire, uncompressed and in lower case, wherever they are not text for people.
"""
