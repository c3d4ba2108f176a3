"""What people do with the quarantine: look, release, purge. One file an act."""
