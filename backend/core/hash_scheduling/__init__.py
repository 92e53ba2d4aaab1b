"""The computation of password hashes: threads, the queue for them, and the usable processors."""
