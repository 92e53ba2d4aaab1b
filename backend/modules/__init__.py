"""The features. A folder here with a manifest.py is all it takes to add one."""
