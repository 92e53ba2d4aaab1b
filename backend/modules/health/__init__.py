"""Whether this process is alive, and whether it should be sent requests."""
