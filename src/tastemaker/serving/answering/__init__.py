"""Who asks and what they get: visitors, live purchases, rules, lists. No HTTP here."""
