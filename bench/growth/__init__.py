"""The cost of a request as items, connections, workers and time grow."""
