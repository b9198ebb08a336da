"""Models to beat: best sellers, co-purchase, EASE, ALS."""
