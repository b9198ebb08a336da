"""What commands share: options, progress bars and tables, Ctrl-C."""
