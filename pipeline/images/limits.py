"""Up to which size an image is decoded whole, and what a larger one may hold while it is read in pieces."""

WHOLE = 100_000_000  # pixels: up to so many an image is decoded whole; larger ones are brought down as they are read
HELD = 1_600_000_000  # bytes of a larger image that a format makes us hold at a time
PIECE = 4 << 20  # pixels of a larger image that are decoded at a time, where its format allows it
