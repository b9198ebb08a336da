"""Lists of which a few places explore, and the exact chance with which each product stood at each place."""
