"""Valued hours: valued rows that are stored between questions, how they are read, and their upkeep."""
