"""Reporting: facts to rows to grams, over REST, as metrics and for the command line."""
