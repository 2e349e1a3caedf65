"""Data of the API server that ingest and answers need: owners of controllers, nodes, pods and their labels."""
