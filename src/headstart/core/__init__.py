"""The vocabulary of the house: errors, names, recipes, digests, specs and features. NumPy and the standard library only."""
