"""Commands that write lists: recommend, similar, index."""
