//! What one side of a conversation calls the other, as it heard: of use where neither an agent nor Kubernetes nor a rule names it.

use crate::directory::Found;
use crate::found_by;
use edgescope_model::wire;
use std::sync::Arc;

/// A name, and how it was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Heard<'a> {
    pub name: &'a str,
    pub resolution_type: &'static str,
}

impl<'a> Heard<'a> {
    /// What an observation says of its far end. A name that came by no known way is none.
    pub fn of(observation: &'a wire::Observation) -> Option<Self> {
        let resolution_type = match observation.far_name_heard() {
            wire::Heard::Dns => found_by::DNS,
            wire::Heard::TlsSni => found_by::TLS_SNI,
            wire::Heard::Unspecified => return None,
        };
        (!observation.far_name.is_empty()).then_some(Self { name: &observation.far_name, resolution_type })
    }

    /// Names an end of which only its address was known; says whether it was such a one. Who stands for its edges is another matter, and stays.
    pub fn name(&self, found: &mut Found) -> bool {
        let is_named = found.owned || found.told || matches!(&*found.dims.resolution_type, found_by::RULE | found_by::LOOPBACK | found_by::UNKNOWN);
        if is_named {
            return false;
        }
        let dims = Arc::make_mut(&mut found.dims);
        self.name.clone_into(&mut dims.workload);
        self.resolution_type.clone_into(&mut dims.resolution_type);
        true
    }
}
