"""Rebase: the recorded chain of a model line, learned again on another base in a new line."""
