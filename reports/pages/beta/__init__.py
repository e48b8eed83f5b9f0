"""The report on `beta`: `page.py` lists its sections, `cost.py` shows quality against cost."""
