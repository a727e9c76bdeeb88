"""`trustchain-server`: a private PKI alone, without a mesh and without a ledger.

One process over one data directory: an issuing CA below a root that is kept offline, two
transparency logs, OCSP and revocation lists, ACME, a name server. Every certificate is logged and
durable before anybody sees it; every change of a zone and every act of governance is in the log of
acts. `routes` has the HTTP surface in one table, with the role that each route asks for; `founding`
the data directory; `parts` joins the objects; `server` is the program.
"""
