"""The rules: one illness, or one cause of it, a file."""
