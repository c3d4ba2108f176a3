"""A sequence of updates on one model: what is taught, what is asked, and how both are scored."""
