"""The Grafana dashboards as Python: what they show (boards.py), and how a panel is made (panels.py)."""
