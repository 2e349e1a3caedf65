"""Answers: what budgets, workloads, runs and reports used, computed from valued hours."""
