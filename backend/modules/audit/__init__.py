"""What was done, by whom and from where: written with the change, and never changed again."""
