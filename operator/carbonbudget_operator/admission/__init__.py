"""The admission webhook: warns at the creation of workloads, and refuses new or growing ones that a budget blocks."""
