"""One question to a version that serves."""
