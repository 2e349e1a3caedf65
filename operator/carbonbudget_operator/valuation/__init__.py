"""Valuation: facts of the ledger to rows, and rows to grams."""
