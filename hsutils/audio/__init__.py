"""Sound: reading it, spectrograms, devices, hearts simulated and found."""
