"""The report on `why_noise`: `page.py` lists its sections, the others hold what each explanation shows."""
