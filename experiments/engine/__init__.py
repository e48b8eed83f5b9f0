"""From a plan to a finished result folder: what is left is run, here or on Ray, and what fails becomes a row."""
