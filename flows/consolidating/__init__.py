"""Consolidation: a champion's last updates, merged into one by distillation."""
