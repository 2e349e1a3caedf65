"""What the API server knows of those who report: the owners of pods' controllers, the nodes that should report."""
