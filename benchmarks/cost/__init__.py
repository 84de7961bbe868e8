"""What observing costs: time, memory, disk, start-up, each against its bar."""
