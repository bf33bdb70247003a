//! HTTP/2 and gRPC in clear text: what the kernel side passes on of connections is read here, and what it says is added to the flows' counters in the
//! kernel. So deltas, the spool's baseline and exactness after a crash are those of all other counters. `calls` is the core, `stash` puts into order what
//! arrived after a hole, `watch` is the thread around them.

mod calls;
mod stash;
mod watch;

pub use watch::Watch;
