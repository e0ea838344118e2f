"""HTTP grammar shared by all faces: routes, guard, bodies, ranges, conditional requests, paging, errors."""
