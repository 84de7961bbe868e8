"""What is measured of an op where it acts: one family of statistics a file."""
