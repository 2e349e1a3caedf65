"""Client for the Kubernetes API. All processes of the operator use it; requests and answers are plain JSON objects."""
