"""`carbonbudget-run -- COMMAND`: one span around a process that is not changed itself."""
