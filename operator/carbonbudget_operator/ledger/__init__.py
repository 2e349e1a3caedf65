"""The durable record of facts: energy and usage by node and pod, never carbon. Only the server opens it."""
