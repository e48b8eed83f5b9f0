"""Why does putting noise back help? `experiment.py` asks, `settings.py` varies, `decomposition.py` splits the gain."""
