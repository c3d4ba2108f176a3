"""Where a record goes: the rules of a recipe, and the drops of modules."""
