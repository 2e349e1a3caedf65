"""Hourly grid intensities: sources behind one Protocol, and which of their figures stands for an hour."""
