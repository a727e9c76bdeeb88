"""STOQ alone: a server and its clients, without a mesh and without a ledger.

Each server is a network of its own. At its first start it makes a root, an issuing certificate and
the keys of its one node; the SHA-256 of the root is the network's id and the server's **pin**. A
client that has the pin believes exactly what that root has signed. The server in turn knows its
clients by their key ids, which stand in its file `authorized_peers`. Both sides prove both their
keys over the TLS channel, as between nodes of a mesh (`crates/stoq/src/admission.rs`).
"""
