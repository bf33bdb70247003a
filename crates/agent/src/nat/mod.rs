//! Which connections this node translates: the kernel's connection tracking, heard of by netlink in every namespace in scope.
//!
//! Where Cilium translates, its own tables are read as well (`cilium`).
//!
//! [`ctnetlink`] is the language, `reader` the thread that listens and tells the kernel side at once (`mirror`), [`Watch`] follows the namespaces. Out flow
//! [`Changes`], of which the observer keeps a [`Ledger`] that it asks when it names far ends.

mod cilium;
pub mod ctnetlink;
mod ledger;
mod mirror;
mod reader;
mod watch;

pub use ledger::Ledger;
pub use watch::Watch;

use edgescope_identity::nat::Translation;
use std::collections::BTreeMap;
use std::path::Path;

/// Something that became of a translation, or of a list of them. `place` is the inode of a network namespace, or 0: Cilium's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `is_early`: heard of no later than its addresses were kept apart, so that its socket may have counted without its port.
    Opened {
        place: u32,
        translation: Translation,
        is_early: bool,
    },
    Closed(Translation),
    /// What was open and does not come until the list ends is no more.
    ListBegins {
        place: u32,
    },
    ListEnds {
        place: u32,
    },
    /// The namespace is gone.
    Left {
        place: u32,
    },
}

/// What happened since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// What was not heard or kept, by reason.
    pub losses: BTreeMap<&'static str, u64>,
}

/// What this host's connection tracking tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The kernel tracks nothing, so it translates nothing.
    Absent,
    /// Translations can only be listed: `net.netfilter.nf_conntrack_events` is 0.
    Silent,
    Heard,
}

/// Looks at the calling thread's namespace.
pub fn tracking() -> Tracking {
    match (Path::new(watch::TRACKING).exists(), reader::sends_no_news()) {
        (false, _) => Tracking::Absent,
        (true, true) => Tracking::Silent,
        (true, false) => Tracking::Heard,
    }
}
