"""One module for each form of a card: figures and terms in, the text of a file out. Pure."""
