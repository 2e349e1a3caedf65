"""The node agent: measures the node's energy, attributes it to pods exactly, stores it and sends it."""
