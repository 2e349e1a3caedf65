"""What agent, operator and clients share: the node report and the rules by which both count."""
