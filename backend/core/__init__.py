"""What every feature stands on. Knows no module by name."""
