//! What several of the test suites share, and the simulator; the suites themselves are files of `tests/`.

pub mod sim;
