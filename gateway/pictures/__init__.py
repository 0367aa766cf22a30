"""Pictures of series and of days, as PNG or SVG; the library that draws is imported where one is asked for."""
