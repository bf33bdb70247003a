//! Faults as people ask for them: `kind:scope[=NAME]:strength`, and which of them exist.

use crate::component::Component;
use crate::topology::Topology;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            fn from_word(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|x| x.word() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What goes wrong.
    Kind {
        /// Packets are dropped at random on the path.
        Loss = "loss",
        /// Packets wait longer on the path.
        Congestion = "congestion",
        /// All packets of a flow vanish.
        Blackhole = "blackhole",
        /// A middlebox resets connections while the listener lives.
        Refused = "refused",
        /// The process is gone; its host resets.
        Crash = "crash",
        /// The server thinks longer.
        SlowService = "slow_service",
        /// The receiver reads slowly, so that its window closes.
        SlowReader = "slow_reader",
        /// Clients ask less.
        DemandDrop = "demand_drop",
        /// The resolvers answer that they cannot, or not at all.
        Dns = "dns",
    }
}

words! {
    /// What a fault sticks to.
    Scope { Pod = "pod", Node = "node", Zone = "zone", ZonePair = "zone_pair", Edge = "edge", Workload = "workload", Dns = "dns" }
}

words! {
    /// How bad it is; [`crate::strength`] says what each means for each kind.
    Strength { Weak = "weak", Clear = "clear", Strong = "strong" }
}

impl Kind {
    /// Scopes at which this fault exists. A network fault sits on any component of the path; a fault of a process sits on a
    /// process; demand is a property of a client or of what it asks of one server; the resolvers are a scope of their own.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            Kind::Loss | Kind::Congestion | Kind::Blackhole | Kind::Refused => {
                &[Scope::Pod, Scope::Node, Scope::Zone, Scope::ZonePair, Scope::Edge, Scope::Workload]
            }
            Kind::Crash | Kind::SlowService | Kind::SlowReader => &[Scope::Pod, Scope::Workload],
            Kind::DemandDrop => &[Scope::Pod, Scope::Edge, Scope::Workload],
            Kind::Dns => &[Scope::Dns],
        }
    }

    pub fn is_network(self) -> bool {
        matches!(self, Kind::Loss | Kind::Congestion | Kind::Blackhole | Kind::Refused | Kind::Dns)
    }
}

/// A fault as asked for; without a name the seed picks one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub kind: Kind,
    pub scope: Scope,
    /// Two names joined by `>` for `zone_pair` and `edge`.
    pub name: Option<String>,
    pub strength: Strength,
}

/// Why a fault cannot be injected; each says what is allowed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FaultError {
    #[error("fault {0:?} is not kind:scope[=NAME]:strength, for example loss:zone=us-east-1b:clear")]
    Form(String),
    #[error("unknown {what} {word:?}: use one of {allowed}")]
    Word { what: &'static str, word: String, allowed: String },
    #[error("{kind} does not exist at scope {scope}: use one of {allowed}")]
    Scope { kind: Kind, scope: Scope, allowed: String },
    #[error("{scope} {name:?} must be two names joined by '>', for example {example}")]
    Pair { scope: Scope, name: String, example: &'static str },
    #[error("no {scope} is named {name:?}: use one of {allowed}")]
    Name { scope: Scope, name: String, allowed: String },
    #[error("{kind} does not apply to {scope} {name:?}: {why}; use one of {allowed}")]
    NotHere { kind: Kind, scope: Scope, name: String, why: &'static str, allowed: String },
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

fn word<T: fmt::Display + Copy>(what: &'static str, word: &str, found: Option<T>, all: &[T]) -> Result<T, FaultError> {
    found.ok_or_else(|| FaultError::Word { what, word: word.to_string(), allowed: list(all) })
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let form = || FaultError::Form(text.to_string());
        let (kind, rest) = text.split_once(':').ok_or_else(form)?;
        let (place, strength) = rest.rsplit_once(':').ok_or_else(form)?;
        let (scope, name) = match place.split_once('=') {
            Some((scope, name)) => (scope, Some(name)),
            None => (place, None),
        };
        if name == Some("") || scope.contains(':') {
            return Err(form());
        }
        let fault = Fault {
            kind: word("fault", kind, Kind::from_word(kind), Kind::ALL)?,
            scope: word("scope", scope, Scope::from_word(scope), Scope::ALL)?,
            name: name.map(str::to_string),
            strength: word("strength", strength, Strength::from_word(strength), Strength::ALL)?,
        };
        fault.check_scope()?;
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}:{}={}:{}", self.kind, self.scope, name, self.strength),
            None => write!(f, "{}:{}:{}", self.kind, self.scope, self.strength),
        }
    }
}

impl Fault {
    fn check_scope(&self) -> Result<(), FaultError> {
        if self.kind.scopes().contains(&self.scope) {
            return Ok(());
        }
        Err(FaultError::Scope { kind: self.kind, scope: self.scope, allowed: list(self.kind.scopes()) })
    }

    /// Every kind at every scope where it exists, at one strength and without names: what a bench goes through.
    pub fn applicable(strength: Strength) -> Vec<Fault> {
        let at = |kind: Kind| kind.scopes().iter().map(move |&scope| Fault { kind, scope, name: None, strength });
        Kind::ALL.iter().flat_map(|&kind| at(kind)).collect()
    }

    /// The component of `topology` that this fault sits on: the one named, else one picked by `seed`.
    pub fn resolve(&self, topology: &Topology, seed: u64) -> Result<Component, FaultError> {
        self.check_scope()?;
        let Some(name) = &self.name else {
            let candidates = self.candidates(topology);
            let mut rng = StdRng::seed_from_u64(self.dice(seed));
            return Ok(candidates.choose(&mut rng).expect("every built-in fault has a candidate").clone());
        };
        let component = self.named(topology, name)?;
        if let Some(why) = self.objection(topology, &component) {
            let allowed = list(self.candidates(topology).iter().map(|c| c.name(topology)));
            return Err(FaultError::NotHere { kind: self.kind, scope: self.scope, name: name.clone(), why, allowed });
        }
        Ok(component)
    }

    /// Each kind at each scope throws its own dice: one seed does not hit one and the same edge with every kind.
    fn dice(&self, seed: u64) -> u64 {
        let place = |found: Option<usize>| found.unwrap_or_default() as u64;
        let (kind, scope) = (Kind::ALL.iter().position(|k| *k == self.kind), Scope::ALL.iter().position(|s| *s == self.scope));
        seed.wrapping_mul(1_000).wrapping_add(place(kind) * 10 + place(scope))
    }

    fn named(&self, topology: &Topology, name: &str) -> Result<Component, FaultError> {
        let all = Component::all(topology, self.scope);
        if let Some(found) = all.iter().find(|c| c.name(topology) == name) {
            return Ok(found.clone());
        }
        let example = match self.scope {
            Scope::ZonePair => Some("us-east-1a>us-east-1b"),
            Scope::Edge => Some("frontend>cartservice"),
            _ => None,
        };
        if let Some(example) = example.filter(|_| !name.contains('>')) {
            return Err(FaultError::Pair { scope: self.scope, name: name.to_string(), example });
        }
        let allowed = list(all.iter().map(|c| c.name(topology)));
        Err(FaultError::Name { scope: self.scope, name: name.to_string(), allowed })
    }

    /// Why this kind cannot sit on that component, though it exists at its scope.
    fn objection(&self, topology: &Topology, component: &Component) -> Option<&'static str> {
        let load_generator = |workload: &str| topology.spec.service(workload).is_some_and(|s| s.is_load_generator());
        let calls = |from: &str, to: &str| topology.call(from, to).is_some();
        match (self.kind, component) {
            (Kind::Refused | Kind::DemandDrop, Component::Edge(from, to)) if !calls(from, to) => {
                Some("only an edge from a client to its server can be refused or asked less")
            }
            (Kind::DemandDrop, Component::Pod(p)) if !load_generator(&topology.pods[*p].workload) => {
                Some("only load generators ask of their own accord")
            }
            (Kind::DemandDrop, Component::Workload(w)) if !load_generator(w) => Some("only load generators ask of their own accord"),
            (Kind::Crash | Kind::SlowService, Component::Pod(p)) if load_generator(&topology.pods[*p].workload) => {
                Some("a load generator serves nobody")
            }
            (Kind::Crash | Kind::SlowService, Component::Workload(w)) if load_generator(w) => Some("a load generator serves nobody"),
            _ => None,
        }
    }

    /// What a seed may pick: components that this kind can sit on, with enough traffic to be seen and enough neighbours to be
    /// told from them.
    pub fn candidates(&self, topology: &Topology) -> Vec<Component> {
        let mut all = Component::all(topology, self.scope);
        all.retain(|c| self.objection(topology, c).is_none());
        // The demand of a load generator is its own: it needs no second peer to be told from.
        if self.kind != Kind::DemandDrop || self.scope == Scope::Edge {
            all.retain(|c| c.is_distinct(topology));
        }
        if matches!(self.kind, Kind::Blackhole | Kind::Refused) {
            all.retain(|c| c.is_distinct_when_cut(topology));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use proptest::prelude::*;

    fn shop() -> Topology {
        Topology::new(Spec::built_in("shop").expect("built in")).expect("sound")
    }

    fn error(text: &str) -> String {
        match text.parse::<Fault>() {
            Err(e) => e.to_string(),
            Ok(fault) => fault.resolve(&shop(), 1).expect_err(text).to_string(),
        }
    }

    #[test]
    fn faults_are_read_as_they_are_written() {
        for text in ["loss:zone=us-east-1b:clear", "refused:edge=frontend>cartservice:strong", "slow_service:pod:weak"] {
            assert_eq!(text.parse::<Fault>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn errors_name_what_is_allowed() {
        assert_eq!(error("loss"), "fault \"loss\" is not kind:scope[=NAME]:strength, for example loss:zone=us-east-1b:clear");
        assert!(error("los:zone:clear").starts_with("unknown fault \"los\": use one of loss, congestion,"));
        assert_eq!(error("loss:zone:loud"), "unknown strength \"loud\": use one of weak, clear, strong");
        assert_eq!(error("crash:zone:clear"), "crash does not exist at scope zone: use one of pod, workload");
        assert_eq!(error("loss:zone=mars:clear"), "no zone is named \"mars\": use one of us-east-1a, us-east-1b, us-east-1c");
        assert!(error("loss:edge=frontend:clear").contains("two names joined by '>'"));
        assert!(error("refused:edge=cartservice>frontend:clear").contains("from a client to its server"));
        assert!(error("crash:workload=loadgenerator:clear").contains("serves nobody"));
        assert!(error("loss:zone=:clear").contains("kind:scope[=NAME]:strength"));
    }

    #[test]
    fn every_applicable_fault_finds_a_place_by_seed() {
        for name in Spec::BUILT_IN {
            let topology = Topology::new(Spec::built_in(name).expect(name)).expect(name);
            for fault in Fault::applicable(Strength::Clear) {
                let candidates = fault.candidates(&topology);
                assert!(candidates.len() >= 2 || matches!(fault.kind, Kind::DemandDrop | Kind::Dns), "{fault} on {name}: {candidates:?}");
                assert_eq!(fault.resolve(&topology, 7), fault.resolve(&topology, 7));
            }
        }
    }

    #[test]
    fn seeds_pick_different_places() {
        let fault: Fault = "loss:pod:clear".parse().expect("sound");
        let picked: std::collections::HashSet<_> = (0..20).map(|seed| fault.resolve(&shop(), seed).expect("found").name(&shop())).collect();
        assert!(picked.len() > 5, "{picked:?}");
    }

    #[test]
    fn one_seed_picks_different_places_for_different_kinds() {
        let pick = |kind: &str| format!("{kind}:workload:clear").parse::<Fault>().expect("sound").resolve(&shop(), 1).expect("found").name(&shop());
        let picked: std::collections::HashSet<_> = ["loss", "congestion", "slow_service", "slow_reader", "crash"].map(pick).into();
        assert!(picked.len() > 1, "{picked:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = text.parse::<Fault>();
        }
    }
}
