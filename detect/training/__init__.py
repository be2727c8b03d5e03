"""Training a detector.

``api`` holds the public functions, ``trainer`` the course of a training, ``setup`` builds what it needs from a
``config.TrainConfig``. All other modules take plain arguments.
"""
