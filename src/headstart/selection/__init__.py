"""Which items to label next."""
