"""What another model would have earned, estimated from lists that explored: inverse propensity and doubly robust."""
