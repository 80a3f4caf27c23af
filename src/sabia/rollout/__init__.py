"""Moving requests from one version to the next by evidence: the plan, the decision, the record, the engine."""
