"""Several models measured on the same users: who learns them, what they cost, and the verdict."""
