"""The webhook: warns whoever creates work under a budget that warns. It never refuses."""
