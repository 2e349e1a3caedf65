"""The `carbonbudget` command line: each command is a module, wired together in `main`."""
