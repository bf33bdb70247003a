//! Which runs there are.

use edgescope_testbed::{Fault, Kind, Strength};

/// Quiet runs of the first and of the second company.
const QUIET: [u64; 2] = [10, 3];
/// The second company's faults have one seed, which the thresholds have not seen either.
const OTHER_SEED: u64 = 11;

/// One demo.
#[derive(Clone, Debug)]
pub struct Run {
    pub topology: &'static str,
    /// Absent in a quiet run.
    pub fault: Option<Fault>,
    pub seed: u64,
}

impl Run {
    /// Unique, and stable over versions: `shop/loss:zone:clear/1`.
    pub fn name(&self) -> String {
        let fault = self.fault.as_ref().map_or("quiet".to_owned(), Fault::to_string);
        format!("{}/{fault}/{}", self.topology, self.seed)
    }

    /// Arguments of `edgescope demo`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--topology".to_owned(), self.topology.to_owned(), "--seed".to_owned(), self.seed.to_string()];
        match &self.fault {
            Some(fault) => arguments.extend(["--fault".to_owned(), fault.to_string()]),
            None => arguments.push("--quiet".to_owned()),
        }
        arguments
    }
}

/// All runs: seeds outermost, so that a bench that is stopped has seen every kind of fault first.
pub fn all(seeds: &[u64]) -> Vec<Run> {
    let runs = |topology, faults: Vec<Fault>, seed| faults.into_iter().map(move |fault| Run { topology, fault: Some(fault), seed });
    let quiet = |topology, count| (1..=count).map(move |seed| Run { topology, fault: None, seed });
    let shop = seeds.iter().flat_map(|&seed| runs("shop", Fault::applicable(Strength::Clear), seed));
    shop.chain(quiet("shop", QUIET[0])).chain(runs("other", every_other(), OTHER_SEED)).chain(quiet("other", QUIET[1])).collect()
}

/// Every kind at half of its scopes, neighbours in the list of kinds at the other half: all kinds and all scopes, in half the time.
fn every_other() -> Vec<Fault> {
    let of = |(k, kind): (usize, &Kind)| {
        let kind = *kind;
        let scopes = kind.scopes().iter().enumerate().filter(move |(s, _)| (k + s) % 2 == 0);
        scopes.map(move |(_, &scope)| Fault { kind, scope, name: None, strength: Strength::Clear })
    };
    Kind::ALL.iter().enumerate().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_second_company_has_every_kind_and_every_scope() {
        let faults = every_other();
        let count = |of: fn(&Fault) -> String| faults.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(count(|f| f.kind.to_string()), Kind::ALL.len(), "{faults:?}");
        assert_eq!(count(|f| f.scope.to_string()), edgescope_testbed::Scope::ALL.len(), "{faults:?}");
    }

    #[test]
    fn every_run_has_its_own_name() {
        let runs = all(&[1, 2, 3]);
        let faults = Fault::applicable(Strength::Clear).len();
        assert_eq!(runs.len(), 3 * faults + every_other().len() + 13);
        assert_eq!(runs.iter().map(Run::name).collect::<HashSet<_>>().len(), runs.len());
        assert_eq!(runs[0].name(), "shop/loss:pod:clear/1");
    }
}
