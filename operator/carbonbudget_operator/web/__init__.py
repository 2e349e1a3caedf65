"""The web page: budgets, emissions, grid and data of the cluster, rendered on the server. It never opens the ledger."""
