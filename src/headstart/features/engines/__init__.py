"""◆ One file an engine: how a backbone is run on the hardware that is there."""
