"""The kopf controller: keeps budgets in memory, judges them each window, writes what changed."""
