//! Which runs there are.

use edgescope_testbed::{Fault, Strength};

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
    let faults = |topology, seed| Fault::applicable(Strength::Clear).into_iter().map(move |fault| Run { topology, fault: Some(fault), seed });
    let quiet = |topology, count| (1..=count).map(move |seed| Run { topology, fault: None, seed });
    let shop = seeds.iter().flat_map(|&seed| faults("shop", seed));
    shop.chain(quiet("shop", QUIET[0])).chain(faults("other", OTHER_SEED)).chain(quiet("other", QUIET[1])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_run_has_its_own_name() {
        let runs = all(&[1, 2, 3]);
        let faults = Fault::applicable(Strength::Clear).len();
        assert_eq!(runs.len(), 4 * faults + 13);
        assert_eq!(runs.iter().map(Run::name).collect::<HashSet<_>>().len(), runs.len());
        assert_eq!(runs[0].name(), "shop/loss:pod:clear/1");
    }
}
