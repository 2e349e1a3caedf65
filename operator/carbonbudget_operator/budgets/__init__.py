"""Budgets: quantities, periods, evaluation, message. Pure integer arithmetic; time is an argument."""
