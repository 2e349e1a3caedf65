"""Chooses when work should start so that it emits least and still ends by its deadline. No I/O and no clock."""
