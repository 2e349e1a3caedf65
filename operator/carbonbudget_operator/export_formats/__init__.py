"""Renderers of `carbonbudget export`: rows of allocations in, the text of a file format out. Pure."""
