"""Readers of data sets: one module per format, found by name.

A reader is a module, or a user's object, with

    claims(spec) -> bool                              whether it reads the set `spec`
    read(spec, options) -> Iterator[Row | BadRow]     the rows in order (`antiphon.data.rows`)

`read` yields rows one by one and need not keep them; `options.limit` is how many will be used. It raises
`DataError` if the set itself cannot be read, and yields a `BadRow` for a row that cannot.

Optional: `set_name(spec) -> str`, the set's name in reports (default: the file's stem), and `PREFIX`, the prefix of
its specs, for messages.
"""
