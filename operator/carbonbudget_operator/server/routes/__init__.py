"""The server's endpoints that answer questions, one file for each kind of question."""
