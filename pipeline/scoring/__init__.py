"""Functions of tensors that score patches. No Ray, no files."""
