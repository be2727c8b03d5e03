"""The pages of app.py; not part of the package."""
