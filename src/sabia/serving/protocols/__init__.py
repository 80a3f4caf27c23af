"""What clients speak, and how it becomes rows and answers. A protocol decides nothing."""
