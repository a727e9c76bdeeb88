"""The Python SDK: a client of the own node. REST for control, STOQ for bytes."""

from hypermesh.sdk.mesh import Mesh, connect

__all__ = ["Mesh", "connect"]
