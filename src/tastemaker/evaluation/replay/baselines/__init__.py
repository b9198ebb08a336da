"""The simple rules that every replay measures beside a model."""
