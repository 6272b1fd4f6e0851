//! Following symbolic links: what they lead to is watched as what was named is.

use std::path::Path;

use super::super::links::Link;
use super::walk::Walk;
use super::{Findings, Ground};

/// So many links are followed at most: each costs a look at every path.
const MOST: usize = 256;

impl Ground {
    /// Looks at what a link that was found leads to, unless it is known or does not count.
    pub(super) fn follow(&mut self, place: &Path, walk: &mut Walk, findings: &mut Findings) {
        let known = self.links.iter().any(|link| link.place == place);
        if known || self.links.len() >= MOST {
            return;
        }
        let Some(link) = Link::read(place) else { return };
        if !self.filter.follow(&link) {
            return;
        }
        self.links.push(link.clone());
        // The older filter may have let it in through another link that is gone.
        let walk = match walk {
            Walk::AdoptNew(_) => &mut Walk::Adopt,
            walk => walk,
        };
        if self.filter.judge(&link.target, link.folder).is_err() {
            return;
        }
        if link.folder {
            self.walk(&link.target, walk, findings);
        } else if let Some(folder) = link.target.parent() {
            self.hold(folder, findings);
            self.look_at_file(&link.target, walk, findings);
        }
    }

    /// Whether a link at `path` was followed and leads elsewhere now.
    pub(super) fn leads_elsewhere(&self, path: &Path) -> bool {
        self.links.iter().any(|link| link.place == path && !link.holds())
    }

    /// The same for all links, for want of somebody who tells.
    pub(super) fn any_leads_elsewhere(&self) -> bool {
        self.links.iter().any(|link| !link.holds())
    }
}
