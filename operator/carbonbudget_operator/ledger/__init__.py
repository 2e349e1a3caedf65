"""The ledger: the durable record of energy and usage by node and pod, never of carbon. Only the server opens it."""
