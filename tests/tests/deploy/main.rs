//! What deploys Tercet, checked as far as that goes without an engine or a cluster: compose.yaml, the image, and the chart as it renders.

#[cfg(test)]
mod chart;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod program;
