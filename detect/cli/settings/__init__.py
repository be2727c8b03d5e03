"""Settings that several programs share."""
