"""All dashboards of the chart, in the order of the documentation."""

from __future__ import annotations

from grafana.budget_boards import BUDGET, BUDGETS
from grafana.emission_boards import CLUSTER, TEAMS
from grafana.node_boards import GRID, NODES
from grafana.operation_board import OPERATION
from grafana.target_board import TARGETS

BOARDS = (BUDGETS, BUDGET, TARGETS, TEAMS, CLUSTER, NODES, GRID, OPERATION)
