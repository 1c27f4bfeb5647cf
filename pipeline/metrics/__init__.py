"""Image and pixel metrics: pure functions of arrays (method, section 6)."""
