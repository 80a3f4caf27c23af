"""The talk's models: training, evaluation, conversion behind a gate, publishing."""
