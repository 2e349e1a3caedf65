"""The kopf controller: holds budgets in memory, evaluates them in each window, and writes what changed."""
