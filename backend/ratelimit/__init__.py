"""Rate limits: rules, and counts in memory, PostgreSQL or Redis. Modules use `core.limits`."""
