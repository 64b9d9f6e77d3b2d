"""What can be said of a model or a game beyond its scores."""
