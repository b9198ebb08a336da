"""tastemaker: the recommender that a shop can trust."""
