"""What dials cost and give, measured at several settings."""
