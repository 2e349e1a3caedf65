"""A whole Kubernetes on this Linux machine, without Docker: what `hack/cluster` runs.

Standard library only: it has to work on a bare Debian before any virtual environment exists.
"""
