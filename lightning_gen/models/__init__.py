"""Networks bound to an objective."""
