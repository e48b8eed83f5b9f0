"""The report on `why_noise`: `page.py` lists its sections, the other modules judge the explanations."""
