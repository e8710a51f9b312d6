"""The training loop, what it is shown, and where it runs."""
