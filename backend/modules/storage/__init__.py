"""How much each user stores, and how much they may."""
