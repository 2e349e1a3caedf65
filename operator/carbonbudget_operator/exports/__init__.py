"""Sends the figures of closed hours to other databases: InfluxDB line protocol and Prometheus remote write."""
