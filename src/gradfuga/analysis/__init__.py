"""What the readings say, before any rule judges it: progress, reach, the account, the case."""
