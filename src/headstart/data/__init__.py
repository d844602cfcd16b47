"""Samples, how they are read and split, and the host half of preparation for each modality."""
