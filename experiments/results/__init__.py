"""What a result folder holds: rows, paired differences with intervals, pictures."""
