"""HyperMesh: your own machines, and other people's, as one pool of assets."""

__version__ = "0.1.0"
