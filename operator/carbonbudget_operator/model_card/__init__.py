"""Model cards: what a model emitted over its life, by stage, in the forms that others read. Pure."""
