"""Storage: one path type for folders and buckets, Parquet, locks, names."""
