//! The mistakes that must not compile, each with the words it is told in.
//!
//! The words are the compiler's of the version in `rust-version`; with another one the test says so by failing on them.

#[test]
fn mistakes_do_not_compile_and_the_error_points_at_them() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
