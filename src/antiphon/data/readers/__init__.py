"""The forms that data sets have: a module each, found by its name.

A reader is a module, or an object of a user's, that has

    claims(spec) -> bool                  whether `spec` names a set in this form
    read(spec, options) -> Iterator[Row | BadRow]     its rows, in order (`antiphon.data.rows`)

and may have `set_name(spec) -> str`, what reports call the set: the file's stem by default. `read` yields rows one by
one and need not hold them all; `options.limit` tells how many will be taken. It raises `DataError` when the set itself
cannot be read, and yields a `BadRow` for a row that it cannot.
"""
