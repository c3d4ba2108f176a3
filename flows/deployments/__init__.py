"""Flows around what the command line also does, for `prefect.yaml`; types make their forms."""
