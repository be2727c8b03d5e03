"""What is checked whenever a dataset is read, and how invalid images and annotations are handled."""
