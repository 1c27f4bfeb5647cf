"""Files and objects: storage, the feature store, the run folder."""
