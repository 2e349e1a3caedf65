"""Allocation: decides which pods are charged with idle and overhead energy. Pure and exact: parts add up to totals."""
