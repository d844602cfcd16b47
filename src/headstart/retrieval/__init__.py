"""Nearest items: whitened rows, exact search, and how well labels are found again."""
