//! Faults of a running company: carried out, measured, taken back.

use super::{Testbed, TestbedError, write_json};
use crate::effect::{Behaviour, DelayRule, Effect, Router, effect, table};
use crate::fault::Fault;
use crate::launch::{self, service_config};
use crate::netns::{self, in_netns, tool};
use crate::relay::RelayCommand;
use crate::service::control::Command;
use crate::service::counters::EffectTotals;
use crate::truth::Truth;
use chrono::Utc;
use std::collections::BTreeMap;

/// A fault that lasts.
pub(super) struct Active {
    id: u32,
    effect: Effect,
    truth: Truth,
    /// What its pods' own effect counters said before.
    before: EffectTotals,
}

impl Testbed {
    /// Makes a fault exist; without a name in it, `seed` picks where. Several may exist at once.
    ///
    /// # Errors
    /// When the fault cannot sit there, or making it fails; then nothing of it remains.
    pub fn inject(&mut self, fault: &Fault, seed: u64) -> Result<Truth, TestbedError> {
        let component = fault.resolve(&self.topology, seed)?;
        self.faults_made += 1;
        let id = self.faults_made;
        let degree = crate::strength::degree(fault.kind, fault.strength);
        let effect = effect(&self.topology, fault.kind, &component, degree, id);
        let before = self.effects_of(&effect)?;
        let truth = Truth::new(&self.topology, fault, &component, Utc::now());
        self.active.push(Active { id, effect, truth, before });
        if let Err(error) = self.apply(self.active.len() - 1) {
            // The cause is told; what undoing it says is of no more use.
            let _ = self.undo(self.active.len() - 1);
            self.active.pop();
            return Err(error);
        }
        self.write_truth()?;
        Ok(self.active[self.active.len() - 1].truth.clone())
    }

    fn apply(&mut self, index: usize) -> Result<(), TestbedError> {
        let effect = self.active[index].effect.clone();
        for (&router, script) in &effect.filters {
            self.nft(router, &["-f", "-"], script)?;
        }
        if !effect.delays.is_empty() {
            self.send_delays()?;
        }
        for &pod in effect.behaviours.keys() {
            self.send_behaviour(pod)?;
        }
        for &pod in &effect.kills {
            self.crash(pod)?;
            self.active[index].truth.measured.pods_killed += 1;
        }
        // The moment from which all of it acts.
        self.active[index].truth.injected_at = Utc::now();
        Ok(())
    }

    /// Ends all faults and returns their truths, with what each really did.
    pub fn heal(&mut self) -> Result<Vec<Truth>, TestbedError> {
        self.measure()?;
        let mut truths = Vec::new();
        while !self.active.is_empty() {
            let healed_at = Utc::now();
            self.undo(0)?;
            let mut truth = self.active.remove(0).truth;
            truth.healed_at = Some(healed_at);
            truths.push(truth.clone());
            self.healed.push(truth);
        }
        self.write_truth()?;
        Ok(truths)
    }

    /// Takes an active fault's effects away; it stays in the list, marked as without effect. What fails does not keep the rest
    /// from being undone; the first failure is returned.
    fn undo(&mut self, index: usize) -> Result<(), TestbedError> {
        let effect = std::mem::take(&mut self.active[index].effect);
        let table = table(self.active[index].id);
        let mut results: Vec<Result<(), TestbedError>> = Vec::new();
        for &router in effect.filters.keys() {
            results.push(self.nft(router, &["delete", "table", "inet", &table], "").map(|_| ()));
        }
        if !effect.delays.is_empty() {
            results.push(self.send_delays());
        }
        for &pod in effect.behaviours.keys() {
            results.push(self.send_behaviour(pod));
        }
        for pod in effect.kills {
            results.push(self.restart(pod));
        }
        results.into_iter().collect()
    }

    /// The truths of this run: of healed faults, then of those that last, measured up to now.
    pub fn truths(&mut self) -> Result<Vec<Truth>, TestbedError> {
        self.measure()?;
        Ok(self.all_truths())
    }

    fn all_truths(&self) -> Vec<Truth> {
        self.healed.iter().chain(self.active.iter().map(|a| &a.truth)).cloned().collect()
    }

    fn write_truth(&self) -> Result<(), TestbedError> {
        write_json(&self.run.path.join("truth.json"), &self.all_truths())
    }

    /// Brings every active fault's `measured` up to date.
    fn measure(&mut self) -> Result<(), TestbedError> {
        let delayed = if self.active.iter().any(|a| !a.effect.delays.is_empty()) { self.relay_counters()?.rules } else { BTreeMap::new() };
        for index in 0..self.active.len() {
            let Active { id, effect, before, truth } = &self.active[index];
            let mut measured = truth.measured;
            if let Some(rule) = delayed.get(id) {
                (measured.packets_seen, measured.packets_hit) = (rule.packets, rule.packets);
                measured.delay_added_us_mean = rule.added_us as f64 / rule.packets.max(1) as f64;
            } else {
                (measured.packets_seen, measured.packets_hit) = self.filtered(*id, effect)?;
            }
            let now = self.effects_of(effect)?;
            measured.requests_delayed = now.requests_delayed - before.requests_delayed;
            measured.think_added_us = now.think_added_us - before.think_added_us;
            measured.reads_delayed = now.reads_delayed - before.reads_delayed;
            measured.read_wait_us = now.read_wait_us - before.read_wait_us;
            measured.requests_withheld = now.requests_withheld - before.requests_withheld;
            measured.questions_failed = now.questions_failed - before.questions_failed;
            self.active[index].truth.measured = measured;
        }
        Ok(())
    }

    /// Packets seen and hit by a fault's filters on all routers.
    fn filtered(&self, id: u32, effect: &Effect) -> Result<(u64, u64), TestbedError> {
        let mut sums = (0, 0);
        for &router in effect.filters.keys() {
            let said = self.nft(router, &["-j", "list", "counters", "table", "inet", &table(id)], "")?;
            let count =
                |name: &str| packets(&said, name).ok_or_else(|| TestbedError::Counters { router: self.router_netns(router), said: said.clone() });
            sums = (sums.0 + count("seen")?, sums.1 + count("hit")?);
        }
        Ok(sums)
    }

    /// Sum of the effect counters of the pods whose behaviour a fault changes.
    fn effects_of(&self, effect: &Effect) -> Result<EffectTotals, TestbedError> {
        let mut sum = EffectTotals::default();
        for &pod in effect.behaviours.keys().filter(|&&p| self.services[p].is_some()) {
            sum.merge(&self.ask(pod, &Command::Counters)?.effects);
        }
        Ok(sum)
    }

    fn nft(&self, router: Router, args: &[&str], script: &str) -> Result<String, TestbedError> {
        let path = netns::path_of(&self.router_netns(router));
        Ok(in_netns(&path, || tool("nft", args, script))??)
    }

    fn router_netns(&self, router: Router) -> String {
        match router {
            Router::Core => self.names.core(),
            Router::Zone(z) => self.names.zone(&self.topology, z),
            Router::Node(n) => self.names.node(&self.topology, n),
        }
    }

    /// Tells the relay the delays of all active faults.
    fn send_delays(&self) -> Result<(), TestbedError> {
        let delays: Vec<DelayRule> = self.active.iter().flat_map(|a| a.effect.delays.clone()).collect();
        launch::ask_relay(&self.run.path, &RelayCommand::Delays(delays)).map(|_| ())
    }

    /// Tells a pod how to behave, by all active faults together; one that crashed is told when it comes back.
    fn send_behaviour(&self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() {
            self.ask(pod, &Command::Behave(self.behaviour(pod)))?;
        }
        Ok(())
    }

    fn behaviour(&self, pod: usize) -> Behaviour {
        self.active.iter().filter_map(|a| a.effect.behaviours.get(&pod)).fold(Behaviour::default(), Behaviour::and)
    }

    fn crash(&mut self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() {
            self.ask(pod, &Command::Die)?;
            if let Some(mut process) = self.services[pod].take() {
                process.wait();
            }
        }
        Ok(())
    }

    fn restart(&mut self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() || self.active.iter().any(|a| a.effect.kills.contains(&pod)) {
            return Ok(());
        }
        self.generations[pod] += 1;
        let config = service_config(&self.topology, pod, self.generations[pod], self.behaviour(pod), &self.options, &self.run.path);
        let netns = netns::path_of(&self.names.pod(&self.topology, pod));
        self.services[pod] = launch::services(&self.options.command, &[config], &[netns], &self.run.path)?.pop();
        Ok(())
    }
}

/// Packets of a named counter, in what `nft -j list counters` said.
pub(crate) fn packets(said: &str, name: &str) -> Option<u64> {
    let parsed: serde_json::Value = serde_json::from_str(said).ok()?;
    let counters = parsed["nftables"].as_array()?.iter().filter_map(|object| object.get("counter"));
    counters.into_iter().find(|counter| counter["name"] == name)?["packets"].as_u64()
}
