"""Converts energy to emissions (emissions_formula.py) and selects the factors of a node (grid_factors.py). Pure."""
