"""Carbon: pure valuation (value.py), and which bundled figure applies to a node (grid_factors.py)."""
