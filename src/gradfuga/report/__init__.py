"""The skin: what is said of a diagnosis, and how it looks as text, HTML and JSON."""
