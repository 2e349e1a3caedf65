"""Ingest: receives node reports over HTTPS, authenticates and checks them, and commits them to the ledger."""
