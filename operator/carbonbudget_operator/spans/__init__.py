"""Spans: divides the energy and emissions of one pod among named parts of its time. Pure, except the bodies."""
