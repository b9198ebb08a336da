"""Tokens: what is known beside the purchases, as weighted numbers of vectors that are learned."""
