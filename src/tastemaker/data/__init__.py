"""From files and frames to `Purchases`: vocabularies, readers, catalogues, splits, the synthetic shop."""
