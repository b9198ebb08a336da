"""What a model knows beside pairs: attributes and contexts, age, other events, and what moves while it serves."""
