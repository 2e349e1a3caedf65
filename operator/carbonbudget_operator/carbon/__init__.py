"""Carbon: converts energy to emissions (value.py) and selects the factors of a node (grid_factors.py). Pure."""
