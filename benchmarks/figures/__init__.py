"""Figures that are measured: each is a command of its own."""
