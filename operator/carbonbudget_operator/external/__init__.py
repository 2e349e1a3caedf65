"""Figures that others measured: parsers of their files. They read no clock, no file and no ledger."""
