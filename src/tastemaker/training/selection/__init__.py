"""Settings chosen on a part held out of train."""
