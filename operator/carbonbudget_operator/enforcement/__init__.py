"""Applies budgets to workloads that run: suspends and resumes Jobs, annotates workloads, writes Jobs' final figures."""
