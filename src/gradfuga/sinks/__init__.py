"""Where readings go while they are recorded: one sink a file."""
