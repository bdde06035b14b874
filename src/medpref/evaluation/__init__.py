"""Numbers one can believe: verdicts a question, metrics with intervals, paired comparisons, probes and alarms."""
