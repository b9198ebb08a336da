"""Every compiled inner loop (Numba), and nothing else: plain arrays in, plain arrays out."""
