"""For development and tests: the embedded PostgreSQL, child processes, and the file watcher."""
