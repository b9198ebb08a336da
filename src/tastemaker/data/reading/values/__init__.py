"""What the values of a log mean: written times, numbers of times, quantities."""
