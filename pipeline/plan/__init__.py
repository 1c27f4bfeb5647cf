"""Pure functions that say what a run will do."""
