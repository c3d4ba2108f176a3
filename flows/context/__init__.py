"""What will not stay true is looked up instead of learned."""
