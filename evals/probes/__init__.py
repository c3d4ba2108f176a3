"""Probes: what is asked of a candidate that no suite of questions can ask, one file each."""
