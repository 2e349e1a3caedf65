"""Units: how many tokens, inferences or requests pods served in an hour, from the samples of Prometheus. Pure.

Nothing here asks anybody: `server/unit_poller.py` sends the queries that are built here, and `ledger/unit_store.py`
stores what is counted here.
"""
