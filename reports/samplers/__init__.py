"""The report on checks of samplers."""
