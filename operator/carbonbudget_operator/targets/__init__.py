"""Pure evaluation of targets: emissions per unit against a baseline and a path. No I/O, no clock, no floats."""
