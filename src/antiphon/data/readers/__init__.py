"""The forms that data sets have: a module each, found by its name.

A reader is a module, or an object of the user's, that has

    claims(spec) -> bool                              whether `spec` names a set in this form
    read(spec, options) -> Iterator[Row | BadRow]     its rows, in order (`antiphon.data.rows`)

`read` yields rows one by one and need not hold them all; `options.limit` tells how many will be taken. It raises
`DataError` when the set itself cannot be read, and yields a `BadRow` for a row that it cannot.

A reader may also have `set_name(spec) -> str`, what reports call the set (by default the file's stem), and `PREFIX`,
what the names of its sets begin with, for messages.
"""
