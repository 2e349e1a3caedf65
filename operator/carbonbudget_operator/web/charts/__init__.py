"""Charts as SVG. Pure: figures in, markup out."""
