"""What an export ships beside its graph: the parts of `predict.py`, in Python, NumPy and the one library of its modality.

`exporting.program` joins one runtime, one modality and `answers` to one file that needs no headstart. No part imports anything of headstart
but another part, and those lines are left out there.
"""
