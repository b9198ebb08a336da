"""Opening files and frames and reading what they hold: columns, times, catalogues."""
