"""How a client is driven: as a command, over JSON lines, or as a function."""
