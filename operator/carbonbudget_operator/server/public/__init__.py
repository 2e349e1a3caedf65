"""The API under /api/v1, for people and their tools: GET only, documented by OpenAPI, stable within v1."""
