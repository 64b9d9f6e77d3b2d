"""How fast it is, as ratios that are measured in one run against a named baseline."""
