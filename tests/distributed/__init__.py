"""Trainings of several processes, on one machine, by gloo."""
