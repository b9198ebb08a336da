"""`TasteModel`, its configuration and presets, and its folder on disk."""
