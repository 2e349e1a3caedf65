"""The node agent: measures the node's energy, attributes it to pods exactly, keeps it, sends it."""
