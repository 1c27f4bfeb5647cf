"""The nearest patch in another image: a FAISS index, or blocked matrix products, behind `Search`."""
