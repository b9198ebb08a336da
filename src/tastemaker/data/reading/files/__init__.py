"""Opening files: finding them, unpacking them, telling their dialect, and refusing what would do harm."""
