"""The frameworks may look for nothing outside, and Keras runs on torch."""

import os

# Before any of them is imported, here or in a test's own process.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["KERAS_BACKEND"] = "torch"
