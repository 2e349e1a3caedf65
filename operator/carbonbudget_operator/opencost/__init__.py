"""OpenCost's allocation API: its parameters, filter language, aggregation keys and JSON. Pure: no I/O, no clock."""
