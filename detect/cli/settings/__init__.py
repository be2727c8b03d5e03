"""Settings of the programs: one module for each, with every flag and its help."""
