"""Commands around the service: serve, key, promote, rollback, events."""
