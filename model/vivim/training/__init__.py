"""Training a starter: datasets, batches made on the device, losses, the trainer."""
