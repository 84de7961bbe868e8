"""Foreign frameworks, one a file, imported by nobody but the user."""
