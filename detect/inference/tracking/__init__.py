"""Tracking of the objects of a video: the same number for the same object in all frames, trails and a count line."""
