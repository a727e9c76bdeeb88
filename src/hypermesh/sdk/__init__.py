"""The Python SDK: a client of a node. REST for control, STOQ for bytes."""
