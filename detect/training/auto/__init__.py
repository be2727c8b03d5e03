"""Defaults fitted to the dataset and the machine, each with its reason.

Every function returns a ``FittedDefault``: the value of a setting that the user did not give, and why.
"""
