"""The built-in synthetic shop: planted tastes, and the words that its products are made of."""
