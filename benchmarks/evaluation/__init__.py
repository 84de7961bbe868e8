"""Labelled trainings, made by experiment, and how often the diagnosis agrees with them."""
