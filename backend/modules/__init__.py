"""The features, one module each: a folder with a manifest."""
