"""Training a network from its frozen model and fitted head: the loop, the ladder of choices, and the gate."""
