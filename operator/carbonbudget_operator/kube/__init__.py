"""The Kubernetes API as the operator's processes use it: JSON in, JSON out, over one thin client."""
