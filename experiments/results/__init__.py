"""The contents of a result folder: rows, paired differences with intervals, images."""
