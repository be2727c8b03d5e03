"""Training a detector.

``api`` holds the public functions, ``trainer`` the course of a training, ``setup`` and ``initial_model`` build what it
needs from a ``config.TrainConfig``, whose missing settings ``fitting`` and ``auto`` fit to the dataset.
"""
