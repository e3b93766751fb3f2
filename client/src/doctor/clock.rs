//! Whether this machine does in time what is due: voices are made and played in steps of 10 ms.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::tell;
use crate::note::State;
use crate::ui::Ui;

/// Takes a second. The thread is to do nothing else meanwhile: its own work would be taken for the machine's.
pub(super) async fn examine(ui: &Ui) {
    told(lateness().await, ui);
}

/// How late three waits in four end at most.
async fn lateness() -> Duration {
    let mut late = Vec::with_capacity(WAITS);
    for _ in 0..WAITS {
        let due = Instant::now() + STEP;
        sleep(STEP).await;
        late.push(due.elapsed());
    }
    late.sort_unstable();
    late.get(WAITS * 3 / 4).copied().unwrap_or_default()
}

fn told(late: Duration, ui: &Ui) -> State {
    let ms = late.as_millis();
    match late > RESERVE {
        false => {
            let what = format!("The clock of this machine wakes calls in time, within {} ms.", ms + 1);
            tell(ui, "clock", State::Good, what, "")
        }
        true => {
            let what =
                format!("The clock of this machine wakes calls {ms} ms late, so that voices break up.");
            tell(ui, "clock", State::Doubtful, what, "Close programs that take the processor.")
        }
    }
}

const STEP: Duration = Duration::from_millis(10);
/// A second.
const WAITS: usize = 100;
/// Two frames: a reserve that has to bear more is heard as delay, or as gaps.
const RESERVE: Duration = Duration::from_millis(40);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    #[test]
    fn a_clock_that_wakes_in_time_is_well_and_one_that_is_late_is_a_finding() {
        let ui = Ui::new(Mode::Silent).unwrap();
        assert_eq!(told(Duration::from_millis(3), &ui), State::Good);
        assert_eq!(told(Duration::from_millis(41), &ui), State::Doubtful);
    }
}
