"""`backend module new`: writes a module for a table whose rows belong to users."""
