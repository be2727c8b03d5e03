"""Training a detector.

``api`` holds the public functions, and ``trainer`` runs a training. ``setup`` and ``initial_model`` build what it
needs from a ``config.TrainConfig``. ``fitting`` and ``auto`` fit the settings that are not given to the dataset.
"""
