"""`Model`, the model directory and the card."""
