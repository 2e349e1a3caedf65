"""The operator: records node reports, allocates and values energy, judges budgets, acts on them."""
