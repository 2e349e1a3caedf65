"""The webhook: warns whoever creates work, and refuses growth of work under a budget that blocks."""
