//! What libbpf says: the reasons for which the kernel refuses.

use std::cell::RefCell;

use libbpf_rs::PrintLevel;

thread_local! {
    /// What libbpf has said on this thread since the last object was opened: the reasons for refusals.
    static MESSAGES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A verifier's log can be megabytes; its end says why.
const MESSAGES_MAX: usize = 256 * 1024;

/// From now on, of every thread.
pub fn capture() {
    libbpf_rs::set_print(Some((PrintLevel::Info, |_, message| {
        tracing::debug!(target: "libbpf", "{}", message.trim_end());
        MESSAGES.with_borrow_mut(|messages| {
            if messages.len() < MESSAGES_MAX {
                messages.push_str(&message);
            }
        });
    })));
}

/// Before the next object is opened.
pub fn forget() {
    MESSAGES.with_borrow_mut(String::clear);
}

/// The error and the last thing the verifier complained of.
pub fn reason(error: &libbpf_rs::Error) -> String {
    let complaint = MESSAGES.with_borrow(|messages| {
        let log = messages.split("-- END PROG LOAD LOG --").next().unwrap_or_default();
        let mut lines = log.lines().rev().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("processed "));
        lines.next().unwrap_or_default().to_owned()
    });
    if complaint.is_empty() { error.to_string() } else { format!("{error}: {complaint}") }
}
