"""Writers of data formats, one module each, `NAME.py`, found by name as readers are.

A writer is a module with `write(examples, out)`, which writes the examples to the files of `out`, an
`antiphon.data.export.Out`, and returns the path to give as SET, relative to the folder of `out`.
What the format has no place for is said in `out.notes`.
"""
