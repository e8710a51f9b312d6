"""What predictions are worth: scores, intervals, controls."""
