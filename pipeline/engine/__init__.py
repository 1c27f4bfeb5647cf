"""The only room that knows Ray: cluster, actors, tasks, progress, telemetry."""
