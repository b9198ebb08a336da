"""Ids of users and products, as requests need them: a few at a time."""
