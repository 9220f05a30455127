//! What several of the test suites share; the suites themselves are files of `tests/`.
