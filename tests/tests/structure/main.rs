//! The repository's own rules, checked: who may depend on whom, and how files are kept.

#[cfg(test)]
mod layers;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod tree;
