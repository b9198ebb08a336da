"""Connections: how many there may be, how they are accepted, and how they end."""
