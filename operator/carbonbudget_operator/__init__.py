"""The operator: records node reports, allocates and values energy, evaluates budgets and enforces them."""
