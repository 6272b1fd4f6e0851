//! Which saves need no quiet time: that of one file which was there before and whose writer is done with
//! it, while nothing else goes on. Time comes in as data.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::source::News;

/// Where more paths than this are touched at a time, it is no save of one file.
const FEW: usize = 16;

/// What was heard ahead of the debouncer, which tells of all of it again.
#[derive(Debug)]
pub(super) struct Early {
    quiet: Duration,
    /// What the debouncer has not told yet.
    touched: Vec<(PathBuf, Instant)>,
    /// Taken early, and nothing has happened to it since.
    taken: Option<PathBuf>,
}

impl Early {
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, touched: Vec::new(), taken: None }
    }

    /// Takes in what has happened to a path. Whether that may be the end of a save: then `concerns` says
    /// of each other path that was touched lately whether it counts.
    pub(super) fn hear(
        &mut self,
        news: News,
        path: &Path,
        now: Instant,
        mut concerns: impl FnMut(&Path) -> bool,
    ) -> bool {
        if self.taken.as_deref() == Some(path) {
            self.taken = None;
        }
        self.touched.retain(|(touched, at)| touched != path && now < *at + 2 * self.quiet);
        let few = self.touched.len() < FEW;
        let alone = few && !self.touched.iter().any(|(path, _)| concerns(path));
        // Of many, it does not matter which.
        if few {
            self.touched.push((path.to_owned(), now));
        }
        news == News::Finished && alone
    }

    /// It was taken.
    pub(super) fn take(&mut self, path: &Path) {
        self.taken = Some(path.to_owned());
    }

    /// The debouncer tells of these. What was taken is left out: it would be another change.
    pub(super) fn leave_out(&mut self, paths: &mut Vec<PathBuf>) {
        if let Some(taken) = &self.taken
            && let Some(at) = paths.iter().position(|path| path == taken)
        {
            paths.remove(at);
            self.taken = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Early, FEW};
    use crate::watch::source::News::{self, Finished, Touched};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    const QUIET: Duration = Duration::from_millis(30);

    /// What becomes of a save in these steps, all at once; names that begin with `.` do not count.
    fn is_early(steps: &[(News, &str)]) -> bool {
        let (mut early, now) = (Early::new(QUIET), Instant::now());
        let counts = |path: &Path| !path.to_string_lossy().starts_with('.');
        let all = steps.iter().map(|(news, path)| early.hear(*news, Path::new(path), now, counts));
        all.last().expect("a step")
    }

    #[test]
    fn the_end_of_a_save_is_the_end_of_its_only_file() {
        assert!(is_early(&[(Touched, "a"), (Finished, "a")]));
        assert!(!is_early(&[(Touched, "a"), (Finished, "a"), (Touched, "a")]));
        // By way of another name, with a backup.
        assert!(is_early(&[(Finished, ".a"), (Touched, ".a"), (Finished, "a")]));
        assert!(is_early(&[(Touched, "a"), (Finished, ".a~"), (Touched, "a"), (Finished, "a")]));
    }

    #[test]
    fn where_anything_else_goes_on_the_end_is_awaited() {
        assert!(!is_early(&[(Touched, "a"), (Finished, "b")]));
        assert!(!is_early(&[(Finished, "a"), (Finished, "b")]));
        let names: Vec<_> = (0..=FEW).map(|n| format!(".{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (Touched, name.as_str())).collect();
        assert!(!is_early(&[many, vec![(Finished, "a")]].concat()));
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let (mut early, now) = (Early::new(QUIET), Instant::now());
        early.hear(Touched, Path::new("a"), now, |_| true);
        assert!(early.hear(Finished, Path::new("b"), now + 2 * QUIET, |_| true));
    }

    #[test]
    fn what_was_taken_is_left_out_once_unless_something_happens_to_it() {
        let (mut early, now) = (Early::new(QUIET), Instant::now());
        let told = |early: &mut Early| {
            let mut paths = vec![PathBuf::from("a"), PathBuf::from("b")];
            early.leave_out(&mut paths);
            paths.len()
        };
        early.take(Path::new("a"));
        assert_eq!((told(&mut early), told(&mut early)), (1, 2));
        early.take(Path::new("a"));
        early.hear(Touched, Path::new("a"), now, |_| true);
        assert_eq!(told(&mut early), 2);
    }
}
