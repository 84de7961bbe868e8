"""What observing costs beside what people would use instead."""
