"""The REST API of a node: a thin layer of routes over `hypermesh.node.composition.Node`."""
