"""Vision transformers behind one small interface."""
