//! What a run says: how many worlds of each kind there were, or what went wrong in which.

use crate::{
    plan::{Case, Kind},
    run::Outcome,
    timeline::draw,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Where a run is told to run one world only.
pub(crate) const ONLY: &str = "TERCET_WORLD";

/// Labels of failing worlds that are listed.
const LISTED_MAX: usize = 30;

/// How many worlds were run, of each kind, on each course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) definition: String,
    /// The courses, by name.
    pub(crate) courses: Vec<String>,
    pub(crate) counts: BTreeMap<(Kind, usize), usize>,
    pub(crate) without: BTreeSet<Kind>,
}

impl Report {
    /// All worlds.
    #[must_use]
    pub fn worlds(&self) -> usize {
        self.counts.values().sum()
    }

    /// Worlds of a kind, on all courses.
    #[must_use]
    pub fn of(&self, kind: Kind) -> usize {
        self.counts.iter().filter(|((of, _), _)| *of == kind).map(|(_, worlds)| worlds).sum()
    }

    pub(crate) fn count(&mut self, case: &Case) {
        *self.counts.entry((case.kind, case.course)).or_default() += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> =
            Kind::ALL.into_iter().filter(|kind| self.of(*kind) > 0 || self.without.contains(kind)).collect();
        let first = kinds.iter().map(|kind| kind.as_str().len()).max().unwrap_or(0);
        let widths: Vec<_> = self.courses.iter().map(|course| course.chars().count().max(5)).collect();
        writeln!(f, "`{}` ends well in every one of {} worlds:", self.definition, self.worlds())?;
        write!(f, "  {:first$}", "")?;
        for (course, width) in self.courses.iter().zip(&widths) {
            write!(f, "  {course:>width$}")?;
        }
        for kind in kinds {
            write!(f, "\n  {kind:first$}")?;
            for (course, width) in widths.iter().enumerate() {
                let worlds = self.counts.get(&(kind, course)).copied().unwrap_or(0);
                write!(f, "  {worlds:>width$}")?;
            }
            if self.without.contains(&kind) {
                f.write_str("  left out")?;
            }
        }
        Ok(())
    }
}

/// The first world that went wrong, as a timeline, and which others did.
pub(crate) fn failure(definition: &str, worlds: usize, wrong: &[(&Case, &Outcome)]) -> String {
    let Some((case, outcome)) = wrong.first() else { return String::new() };
    let mut text = format!("`{definition}` goes wrong in {} of {worlds} worlds. The first of them:\n\n", wrong.len());
    text.push_str(&world(case, outcome));
    if wrong.len() > 1 {
        text.push_str("\nthe others:\n");
        let others = wrong.iter().skip(1).take(LISTED_MAX);
        for (case, outcome) in others {
            let what = outcome.wrong.first().map_or("", String::as_str);
            text.push_str(&format!("  {}: {}\n", case.label, what.lines().next().unwrap_or_default()));
        }
        if wrong.len() > LISTED_MAX + 1 {
            text.push_str(&format!("  and {} more\n", wrong.len() - LISTED_MAX - 1));
        }
    }
    text
}

/// One world: what was wrong with it, its timeline, and how it is run alone.
pub(crate) fn world(case: &Case, outcome: &Outcome) -> String {
    let mut text = format!("  {}\n\n", case.label);
    for wrong in &outcome.wrong {
        text.push_str(&indented(wrong, "  - ", "    "));
    }
    let timeline = draw(&outcome.lines, outcome.begins);
    text.push_str(&format!("\n{}\n", indented(&timeline, "  ", "  ").trim_end()));
    text.push_str(&format!("\n  to run this world alone: {ONLY}='{}' cargo test …\n", case.label));
    text
}

fn indented(text: &str, first: &str, then: &str) -> String {
    let lines = text.lines().enumerate();
    lines.map(|(number, line)| format!("{}{line}\n", if number == 0 { first } else { then })).collect()
}
