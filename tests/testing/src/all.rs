//! All worlds of a saga: the clean ones first, the others side by side on as many threads as there are processors.

use crate::{
    locked,
    place::Participants,
    plan::{Act, Case, Kind, Record, clean, worlds},
    report::{ONLY, Report, failure, world},
    run::{Outcome, run},
    worlds::{Course, Worlds},
};
use std::{
    panic::resume_unwind,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tercet_core::StepKind;
use tokio::sync::oneshot;

/// The name of the course on which everything is undone.
const UNDONE: &str = "undone";

impl<P: Participants> Worlds<P> {
    /// Runs the saga through all of its worlds. With `TERCET_WORLD` set to a world's label it runs that one, and prints its timeline.
    ///
    /// # Panics
    /// When a world goes wrong: with the first such world as a timeline, and how to run it alone. Also when a kind of world that
    /// applies to the saga has none.
    pub async fn run(self) -> Report {
        match self.try_run().await {
            Ok(report) => {
                println!("{report}");
                report
            }
            Err(text) => panic!("{text}"),
        }
    }

    /// The same, with what [`Worlds::run`] would panic with as an error.
    ///
    /// # Errors
    /// When a world goes wrong, or a kind of world that applies to the saga has none.
    pub async fn try_run(self) -> Result<Report, String> {
        let only = std::env::var(ONLY).ok();
        let (done, ended) = oneshot::channel();
        // Each world has a runtime of its own, which none may have within another.
        let runner = std::thread::spawn(move || drop(done.send(self.run_all(only.as_deref()))));
        match (ended.await, runner) {
            (Ok(result), _) => result,
            (Err(_), runner) => match runner.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => Err("the run was lost".to_owned()),
            },
        }
    }

    fn run_all(mut self, only: Option<&str>) -> Result<Report, String> {
        let courses = self.record()?;
        let cases = self.cases(&courses);
        if let Some(only) = only {
            return self.run_only(only, &courses, &cases);
        }
        let outcomes = self.run_each(&cases, &courses);
        let wrong: Vec<_> = cases.iter().zip(&outcomes).filter(|(_, outcome)| !outcome.wrong.is_empty()).collect();
        let all = cases.len() + courses.len();
        if !wrong.is_empty() {
            return Err(failure(self.definition.as_str(), all, &wrong));
        }
        self.report(&courses, &cases)
    }

    /// Runs the clean worlds, and those on which everything is undone.
    fn record(&mut self) -> Result<Vec<(Option<String>, Record)>, String> {
        let mut courses = Vec::new();
        for course in 0..self.courses.len() {
            courses.push(self.record_course(course)?);
        }
        let natural = &courses[0].1;
        let undone = courses.iter().any(|(_, record)| record.end == crate::End::Cancelled);
        if let (false, Some(step)) = (undone, natural.last.clone()) {
            self.courses.push(Course::Undone(step));
            courses.push(self.record_course(courses.len())?);
        }
        Ok(courses)
    }

    fn record_course(&self, course: usize) -> Result<(Option<String>, Record), String> {
        let name = match &self.courses[course] {
            Course::Natural => None,
            Course::Arranged(name, _) => Some(name.clone()),
            Course::Undone(_) => Some(UNDONE.to_owned()),
        };
        let case = clean(course, name.as_deref());
        let mut outcome = run(self, &case, None);
        match outcome.record.take() {
            Some(record) if outcome.wrong.is_empty() && (course > 0 || !record.calls.is_empty()) => {
                return Ok((name, record));
            }
            Some(_) if outcome.wrong.is_empty() => {
                outcome.wrong.push("it asks nobody anything: there is nothing to go wrong".to_owned());
            }
            _ => {}
        }
        Err(failure(self.definition.as_str(), 1, &[(&case, &outcome)]))
    }

    fn cases(&self, courses: &[(Option<String>, Record)]) -> Vec<Case> {
        let mut cases = worlds(courses);
        cases.retain(|case| !self.without.contains(&case.kind));
        cases
    }

    fn run_each(&self, cases: &[Case], courses: &[(Option<String>, Record)]) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(cases.iter().map(|_| None).collect());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else { return };
                        let outcome = run(self, case, Some(&courses[case.course].1));
                        locked(&outcomes)[number] = Some(outcome);
                    }
                });
            }
        });
        let outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        outcomes.into_iter().flatten().collect()
    }

    fn run_only(&self, only: &str, courses: &[(Option<String>, Record)], cases: &[Case]) -> Result<Report, String> {
        let clean = courses.iter().enumerate().map(|(course, (name, _))| clean(course, name.as_deref()));
        let all: Vec<_> = clean.chain(cases.iter().cloned()).collect();
        let Some(case) = all.iter().find(|case| case.label == only) else {
            let known: Vec<_> = all.iter().map(|case| case.label.as_str()).collect();
            return Err(format!("`{}` has no world `{only}`; it has:\n  {}", self.definition, known.join("\n  ")));
        };
        let outcome = run(self, case, (case.act != Act::Nothing).then(|| &courses[case.course].1));
        if !outcome.wrong.is_empty() {
            return Err(failure(self.definition.as_str(), 1, &[(case, &outcome)]));
        }
        println!("{}", world(case, &outcome));
        let mut report = self.empty_report(courses);
        report.count(case);
        Ok(report)
    }

    fn empty_report(&self, courses: &[(Option<String>, Record)]) -> Report {
        let name = |(name, record): &(Option<String>, Record)| name.clone().unwrap_or_else(|| record.end.to_string());
        Report {
            definition: self.definition.to_string(),
            courses: courses.iter().map(name).collect(),
            counts: Default::default(),
            without: self.without.clone(),
        }
    }

    /// The report, if no kind that applies is missing.
    fn report(&self, courses: &[(Option<String>, Record)], cases: &[Case]) -> Result<Report, String> {
        let mut report = self.empty_report(courses);
        (0..courses.len()).for_each(|course| report.count(&clean(course, None)));
        cases.iter().for_each(|case| report.count(case));
        let missing = |kind: &Kind| {
            let applies = *kind != Kind::Timer || self.races();
            applies && !self.without.contains(kind) && report.of(*kind) == 0
        };
        let missing: Vec<_> = Kind::ALL.into_iter().filter(missing).map(Kind::as_str).collect();
        if missing.is_empty() {
            return Ok(report);
        }
        Err(format!(
            "`{}` has no world of these kinds: {}. A wait that nobody answers races with nothing: tell it something with `when`; \
             or leave the kind out with `without`",
            self.definition,
            missing.join(", ")
        ))
    }

    /// Something in the definition races with a timer.
    fn races(&self) -> bool {
        let graph = self.setup.registry.newest(&self.definition);
        graph.is_some_and(|graph| {
            graph.deadline().is_some() || graph.nodes().iter().any(|node| node.kind() == StepKind::Wait)
        })
    }
}
