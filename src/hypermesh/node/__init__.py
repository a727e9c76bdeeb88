"""A node: the only place that builds the graph of objects, and the shell around the pure cores."""
