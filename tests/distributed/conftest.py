"""What the tests of several processes share."""

# a program of its own, started by the tests with arguments
collect_ignore = ["_lonely.py", "_killed.py"]
