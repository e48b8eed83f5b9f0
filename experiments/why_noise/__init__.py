"""Why does putting noise back help? The trials (experiment.py), their settings, the parts of the gain."""
