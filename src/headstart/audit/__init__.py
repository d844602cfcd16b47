"""The data gate: what is wrong with labelled data, found on rows and samples. It reports; it never removes or changes anything."""
