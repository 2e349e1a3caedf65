"""The Grafana dashboards as Python: what they show (a module for each subject, boards.py lists them), and how a panel is made (panels.py)."""
