"""Services that this node offers, and local sockets that lead to those of others."""
