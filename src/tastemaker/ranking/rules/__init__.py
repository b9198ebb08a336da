"""What may be shown: rules, compiled rules, ranking under rules."""
