"""Valuation: turns the ledger's facts into rows with energy and emissions."""
