"""Experiments on visitors: differences that may be looked at on any day, a check of the assignment, how many visitors it takes."""
