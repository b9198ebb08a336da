"""`top_k`, the one ranking function, and what recommends and compares with it."""
