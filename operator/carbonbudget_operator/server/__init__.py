"""The server process: how it is put together, and the worker processes that answer people's questions."""
