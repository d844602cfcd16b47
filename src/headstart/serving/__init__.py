"""`headstart serve`: models over HTTP, and the page that shows what they say. Called so because `headstart.serve` is the verb in Python."""
