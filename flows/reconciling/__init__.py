"""Comparing the ledger, which is the truth, with the registry, which is an index for people."""
