"""Write edits into a user's source, formatting kept (LibCST)."""
