"""The signals for operators: metrics, traces, error reports, and the names of statements."""
