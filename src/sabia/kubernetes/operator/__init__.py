"""`Rollout` resources on a cluster, carried out by the same engine."""
