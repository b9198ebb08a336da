"""Logs and lists in databases and object stores: where they lie, reading them in batches, writing a table whole or not at all."""
