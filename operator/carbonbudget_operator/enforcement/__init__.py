"""What budgets do to workloads that run: annotations, suspension and resumption, final figures."""
