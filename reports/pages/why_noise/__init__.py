"""The report on `why_noise`: page.py has its sections, opening.py its first screen, select.py reads the gains."""
