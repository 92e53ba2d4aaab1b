"""Files of users: stored, linked, downloaded and deleted, for modules that have some."""
