"""The others, each as its own documentation starts it, all with the same estimator."""
