"""Ids and histories of a few users and products, as requests need them, without holding those of all."""
