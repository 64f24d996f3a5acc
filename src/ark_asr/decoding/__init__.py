"""Choosing tokens and making text of them; the same for every engine."""
