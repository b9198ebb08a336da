"""How a route is declared, and the one place that holds requests and answers to the declaration."""
