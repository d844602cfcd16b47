"""The report: one HTML file that says whether a model's results can be believed, and why.

`gather` composes a frozen `Story` of everything that the page shows, `draw_*` draw, and `page` writes; `report` is the verb.
"""
