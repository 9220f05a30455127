//! A sign of life while a command waits: after a second, on a terminal only.

use indicatif::ProgressBar;
use std::{convert::Infallible, io::IsTerminal, time::Duration};

/// Waits for `work`, saying `what` when that takes long.
pub(super) async fn during<T>(what: String, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let sign = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(120));
        let _cleared = Clear(bar);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = sign => match never {},
    }
}

struct Clear(ProgressBar);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
