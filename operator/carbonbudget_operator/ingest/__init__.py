"""Ingest: receives node reports; authenticates, checks, commits, acknowledges."""
