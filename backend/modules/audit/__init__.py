"""The sealed record of actions: written with the change, and never changed again."""
