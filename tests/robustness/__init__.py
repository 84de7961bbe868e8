"""What may go wrong around and inside the observer, and what must not come of it."""
