"""The names of the mesh: what the ledger knows of nodes and assets, as the DNS knows names.

| module | holds |
|---|---|
| `layout` | which names a node and its assets have, and what is at them; pure |
| `export` | the zones of this node's copy of the ledger, with the height they stand at |
| `local` | `hypermesh.online` as it is on this machine |
| `phase` | who answers for the mesh's names, kept over restarts |
| `naming` | what owners call their nodes and assets |
| `served` | the name server of a node |
"""
