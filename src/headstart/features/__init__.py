"""Extraction: run a frozen backbone once per distinct sample and keep the rows."""
