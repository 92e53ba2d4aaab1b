"""Load tests: the application beside a hand-written floor, on this machine and in one run."""
