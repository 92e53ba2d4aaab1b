"""Load tests that compare the application with a hand-written server (the floor)."""
