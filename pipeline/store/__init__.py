"""What is kept: features, run folders, history, and what of it is garbage."""
