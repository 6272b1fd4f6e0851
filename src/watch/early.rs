//! Which saves need no quiet time: that of one file which was there before and whose writer is done with
//! it, while nothing else goes on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use notify_debouncer_mini::DebouncedEvent;

use super::source::News;

/// Where more paths than this are touched at a time, it is no save of one file.
const FEW: usize = 16;

/// What was heard ahead of the debouncer, which tells of all of it again.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// What the debouncer has not told of yet.
    touched: HashSet<PathBuf>,
    /// Taken early, and nothing has happened to it since.
    taken: Option<PathBuf>,
}

impl Early {
    /// Takes in what has happened to a path. Whether that may be the end of a save: then `concerns` says
    /// of each other path that was touched whether it counts.
    pub(super) fn hear(
        &mut self,
        news: News,
        path: &Path,
        mut concerns: impl FnMut(&Path) -> bool,
    ) -> bool {
        if self.taken.as_deref() == Some(path) {
            self.taken = None;
        }
        self.touched.insert(path.to_owned());
        news == News::Finished && !self.is_more_to_come(|other| other != path && concerns(other))
    }

    /// Whether the debouncer will tell of something else that counts. `concerns` as above.
    pub(super) fn is_more_to_come(&self, concerns: impl FnMut(&Path) -> bool) -> bool {
        self.touched.len() > FEW || self.touched.iter().map(PathBuf::as_path).any(concerns)
    }

    /// It was taken.
    pub(super) fn take(&mut self, path: &Path) {
        self.taken = Some(path.to_owned());
    }

    /// The debouncer tells of these. What was taken is left out: it would be another change.
    pub(super) fn leave_out(&mut self, events: &mut Vec<DebouncedEvent>) {
        for event in &*events {
            self.touched.remove(&event.path);
        }
        if let Some(taken) = &self.taken
            && let Some(at) = events.iter().position(|event| event.path == *taken)
        {
            events.remove(at);
            self.taken = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Early, FEW};
    use crate::watch::source::News::{self, Finished, Touched};
    use notify_debouncer_mini::{DebouncedEvent, DebouncedEventKind};
    use std::path::Path;

    /// What becomes of a save in these steps, all at once; names that begin with `.` do not count.
    fn is_early(steps: &[(News, &str)]) -> bool {
        let mut early = Early::default();
        let counts = |path: &Path| !path.to_string_lossy().starts_with('.');
        let all = steps.iter().map(|(news, path)| early.hear(*news, Path::new(path), counts));
        all.last().expect("a step")
    }

    /// How many of two files the debouncer may speak of.
    fn told(early: &mut Early) -> usize {
        let told = |path| DebouncedEvent::new(path, DebouncedEventKind::Any);
        let mut events = vec![told("a".into()), told("b".into())];
        early.leave_out(&mut events);
        events.len()
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
    fn what_the_debouncer_has_told_is_over() {
        let mut early = Early::default();
        early.hear(Touched, Path::new("a"), |_| true);
        assert!(early.is_more_to_come(|_| true));
        assert!(!early.is_more_to_come(|_| false));
        assert_eq!(told(&mut early), 2);
        assert!(!early.is_more_to_come(|_| true));
        assert!(early.hear(Finished, Path::new("c"), |_| true));
    }

    #[test]
    fn what_was_taken_is_left_out_once_unless_something_happens_to_it() {
        let mut early = Early::default();
        early.take(Path::new("a"));
        assert_eq!((told(&mut early), told(&mut early)), (1, 2));
        early.take(Path::new("a"));
        early.hear(Touched, Path::new("a"), |_| true);
        assert_eq!(told(&mut early), 2);
    }
}
