"""The Grafana dashboards as Python: what they show, by subject (boards.py has all), and panels (panels.py)."""
