"""From planned trials to a finished result folder: runs the remaining tasks, here or on Ray."""
