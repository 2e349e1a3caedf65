"""Hourly grid intensities: the sources, which share one Protocol, and the selection of the figure for an hour."""
