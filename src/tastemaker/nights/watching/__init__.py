"""After the switch: the figures of the service against the bounds of the shop."""
