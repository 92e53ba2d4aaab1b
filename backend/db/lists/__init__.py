"""Pages of rows: keyset cursors, filters, search ranking, page sizes in bytes."""
