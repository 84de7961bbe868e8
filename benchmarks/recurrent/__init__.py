"""The worked recurrent examples: horizon and result, with and without the cure."""
