"""What is decided about images, in tables: no Ray, no torch."""
