"""The remedies: one treatment a file."""
