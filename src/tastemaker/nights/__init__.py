"""Every night by itself: read, check, learn, replay, publish, watch; one file describes the shop."""
