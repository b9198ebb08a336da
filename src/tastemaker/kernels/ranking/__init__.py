"""Scores and ranks: queries of baskets, the k best candidates, the ranks of chosen ones, and how well weights rank."""
