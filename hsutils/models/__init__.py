"""The networks, their losses, and packed batches."""
