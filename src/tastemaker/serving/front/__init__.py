"""What every request passes: keys, limits, logs, counters, refusals, probes."""
