"""Commands that learn and measure: train, evaluate, compare, demo."""
