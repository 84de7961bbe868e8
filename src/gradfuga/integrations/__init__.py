"""One foreign framework a file; nobody but the user imports any of them."""
