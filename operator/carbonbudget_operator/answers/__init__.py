"""Answers to questions about budgets, workloads, runs and reports, computed from valued rows."""
