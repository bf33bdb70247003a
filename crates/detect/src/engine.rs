//! The life of alerts and incidents, round by round.

use crate::config::DetectorsConfig;
use crate::incidents::{self, Member};
use crate::rules::{At, Detector, Peers, Reading, Usual, hold, plain_counts, plain_shift, read, usual, usual_told};
use crate::series::{EdgeKey, Part, Past, Places, Series, WINDOWS_KEPT};
use crate::words::{edge_of, fill, fingerprint, labels};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::query::{EdgeQuery, EdgeTable};
use edgescope_model::time::{Time, from_seconds};
use std::collections::BTreeMap;

/// Windows judged again in each round: late agents' rows within these count. 12 × 10 s.
pub const WINDOWS_JUDGED: i64 = 12;
/// Edges below which peers are no witnesses.
const PEERS_MIN: usize = 8;
/// Zone pairs below which edges are: two zones have four.
const ZONE_PAIRS_MIN: usize = 4;
/// A firing alert whose value moved by this share is told again.
const RETOLD_SHARE: f64 = 0.25;

/// Something to store and to show: the newest state of an alert or an incident.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    Alert(Box<Alert>),
    Incident(Box<Incident>),
}

/// What bit, for `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub rounds: u64,
    pub slices: usize,
    pub slices_turned_away: u64,
    pub alerts_turned_away: u64,
    /// Slices that the last round had no place for.
    pub slices_not_judged: usize,
    /// Pod pairs and directions that tables left out: over all rounds, and of the last.
    pub pairs_turned_away: u64,
    pub pairs_not_judged: usize,
}

/// An alert that is not resolved.
#[derive(Debug, Clone)]
struct Open {
    alert: Alert,
    /// The slice that is worst; unknown of an alert of a former life.
    part: Option<Part>,
    /// First and last bad window.
    first_bad: i64,
    last_bad: i64,
    /// Newest window with data.
    last_known: i64,
    places: Places,
    told: f64,
    /// The rate of each slice before the trouble: its windows are forgotten while the trouble lasts. At worst all slices for each of four detectors:
    /// 4 × `series_max` × 100 B = 8 MB.
    usual: BTreeMap<Part, Usual>,
    /// The same by the alert's own words as it began, for slices that are not known from before: a new pod's, and all of an alert of a former life.
    usual_else: Option<Usual>,
}

type Key = (Detector, EdgeKey);

/// Holds every series' past and every open alert. The same rounds give the same transitions.
pub struct Engine {
    config: DetectorsConfig,
    series: Series,
    open: BTreeMap<Key, Open>,
    incidents: BTreeMap<String, Incident>,
    members: BTreeMap<String, Member>,
    counters: Counters,
}

impl Engine {
    pub fn new(config: DetectorsConfig) -> Self {
        Self {
            config,
            series: Series::default(),
            open: BTreeMap::new(),
            incidents: BTreeMap::new(),
            members: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// What the next round wants to know: all that is kept at first, then the windows that are judged again.
    pub fn query(&self, now: Time) -> EdgeQuery {
        let windows = if self.series.newest.is_some() { WINDOWS_JUDGED } else { WINDOWS_KEPT as i64 };
        crate::query_windows(now, windows)
    }

    /// Takes alerts and incidents of a former life of the server back in: they go on as they were, or resolve. What was heard of them until `now` is not
    /// known: from here on their silence counts.
    pub fn resume(&mut self, alerts: Vec<Alert>, incidents: Vec<Incident>, now: Time) {
        let last_known = now.timestamp().div_euclid(crate::WINDOW_S);
        for alert in alerts.into_iter().filter(|a| a.state == AlertState::Firing) {
            let Some(detector) = Detector::ALL.into_iter().find(|d| d.name() == alert.detector) else { continue };
            let Some(edge) = edge_of(&alert) else { continue };
            let window = alert.since.timestamp().div_euclid(crate::WINDOW_S);
            let places = Places::default();
            self.members.insert(alert.id.clone(), Member::new(alert.since, &edge, &places));
            let told = alert.value;
            let usual_else = usual_told(detector, &self.config, &alert);
            let open = Open { alert, part: None, first_bad: window, last_bad: window, last_known, places, told, usual: BTreeMap::new(), usual_else };
            self.open.insert((detector, edge), open);
        }
        self.incidents.extend(incidents.into_iter().filter(|i| i.closed_at.is_none()).map(|i| (i.id.clone(), i)));
    }

    /// Judges the newest windows of a table whose steps are all closed.
    pub fn round(&mut self, table: &EdgeTable, now: Time) -> Vec<Transition> {
        self.counters.rounds += 1;
        let numbers = self.series.take(table, self.config.series_max);
        let window_s = f64::from(table.step_s.unwrap_or(10));
        let mut told = Vec::new();
        for detector in Detector::ALL {
            let edges = self.series.edges.iter().filter(|(key, _)| applies(detector, key));
            // What has not changed was judged before.
            let due: Vec<(EdgeKey, i64)> =
                edges.map(|(key, e)| (key.clone(), e.changed_from.clamp(numbers.end - WINDOWS_JUDGED, numbers.end))).collect();
            let first = due.iter().map(|(_, from)| *from).min().unwrap_or(numbers.end);
            let peers: BTreeMap<i64, Peers> = (first..numbers.end).map(|w| (w, self.peers(detector, w, window_s))).collect();
            for (edge, from) in due {
                let known = self.open.contains_key(&(detector, edge.clone()));
                if known || from < numbers.end {
                    told.extend(self.judge(detector, &edge, from..numbers.end, &peers, window_s, now));
                }
            }
        }
        told.extend(self.wait_for_silent(window_s, now));
        let mut transitions = self.group(told, now);
        transitions.extend(self.close(now));
        self.counters.slices = self.series.slices();
        self.counters.slices_turned_away = self.series.turned_away;
        self.counters.slices_not_judged = self.series.turned_away_now;
        self.counters.pairs_not_judged = crate::rows_cut(table);
        self.counters.pairs_turned_away += self.counters.pairs_not_judged as u64;
        transitions
    }

    /// Goes on with alerts whose edge nobody tells of, or that had no place among the series: what is not heard of for long enough ends.
    fn wait_for_silent(&mut self, window_s: f64, now: Time) -> Vec<Alert> {
        let is_judged = |(detector, edge): &Key| applies(*detector, edge) && self.series.edges.contains_key(edge);
        let silent: Vec<Key> = self.open.keys().filter(|key| !is_judged(key)).cloned().collect();
        let go_on = |key: Key| {
            let open = self.open.remove(&key)?;
            self.go_on(key, open, &[], window_s, now)
        };
        silent.into_iter().filter_map(go_on).collect()
    }

    /// Alerts that are not resolved.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.open.values().map(|o| &o.alert)
    }

    /// Incidents that are not closed.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What nearly all show in a window: the quarter quantile of shifts over pod pairs, or of rates over zone pairs (over edges, where there are
    /// too few zones). A fault of one zone or of a much used workload hits up to half of all paths, so the median would excuse it; and nearly
    /// every edge, since each has replicas in the zone, so that edges are witnesses only where there is nothing better.
    fn peers(&self, detector: Detector, window: i64, window_s: f64) -> Peers {
        if detector == Detector::RttShift {
            let at = At { window, normal_until: window - 2, window_s };
            let shifts = self.slices().filter(|(part, _)| matches!(part, Part::Pods(..))).filter_map(|(_, past)| plain_shift(past, at));
            return Peers { rate: 0.0, shift_s: common(shifts.collect(), PEERS_MIN) };
        }
        let mut by_zones: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
        let mut edges = Vec::new();
        for (part, past) in self.slices() {
            let Some((bad, all)) = plain_counts(detector, past, window) else { continue };
            match part {
                Part::Zones(from, to) => {
                    let sum = by_zones.entry((from, to)).or_default();
                    *sum = (sum.0 + bad, sum.1 + all);
                }
                Part::Whole => edges.push(bad / all),
                _ => {}
            }
        }
        let zones: Vec<f64> = by_zones.into_values().map(|(bad, all)| bad / all).collect();
        let rate = if zones.len() >= ZONE_PAIRS_MIN { common(zones, ZONE_PAIRS_MIN) } else { common(edges, PEERS_MIN) };
        Peers { rate, shift_s: 0.0 }
    }

    fn slices(&self) -> impl Iterator<Item = (&Part, &Past)> {
        self.series.edges.values().flat_map(|edge| &edge.parts).map(|(part, (past, _))| (part, past))
    }

    /// The worst slice of an edge at a window, and whether any slice had data.
    fn worst(&self, detector: Detector, edge: &EdgeKey, at: At, peers: Peers) -> Option<(Part, Reading)> {
        let readings = self.series.edges.get(edge)?.parts.iter().filter(|(part, _)| detector.looks_at(part));
        let open = self.open.get(&(detector, edge.clone()));
        let held = |part: &Part| open.and_then(|o| o.usual.get(part).copied().or(o.usual_else));
        let readings = readings.filter_map(|(part, (past, _))| Some((part, read(detector, &self.config, past, at, peers, held(part))?)));
        let worst = readings.max_by(|a, b| a.1.bad.cmp(&b.1.bad).then(a.1.excess.total_cmp(&b.1.excess)))?;
        Some((worst.0.clone(), worst.1))
    }

    fn hold(&self, detector: Detector, edge: &EdgeKey, at: At, (part, baseline, threshold): &(Part, f64, f64)) -> Option<(Part, Reading)> {
        let (past, _) = self.series.edges.get(edge)?.parts.get(part)?;
        Some((part.clone(), hold(detector, &self.config, past, at, (*baseline, *threshold))?))
    }

    fn judge(
        &mut self,
        detector: Detector,
        edge: &EdgeKey,
        judged: std::ops::Range<i64>,
        peers: &BTreeMap<i64, Peers>,
        window_s: f64,
        now: Time,
    ) -> Option<Alert> {
        let key = (detector, edge.clone());
        let begun = self.open.get(&key).map(|o| o.first_bad);
        let held = self.open.get(&key).and_then(|o| Some((o.part.clone()?, o.alert.baseline?, o.alert.threshold)));
        let mut readings: Vec<(i64, Part, Reading)> = Vec::new();
        for window in judged {
            // What counts as normal ends where the trouble begins: before the alert's first bad window, or before the first bad one here.
            let first_bad = begun.or_else(|| readings.iter().find(|r| r.2.bad).map(|r| r.0));
            let at = At { window, normal_until: first_bad.unwrap_or(window) - 1, window_s };
            let worst = self.worst(detector, edge, at, peers.get(&window).copied().unwrap_or_default());
            let worst = worst.or_else(|| self.hold(detector, edge, at, held.as_ref()?));
            readings.extend(worst.map(|(part, reading)| (window, part, reading)));
        }
        let begins = begun.is_none();
        let told = match self.open.remove(&key) {
            Some(open) => self.go_on(key.clone(), open, &readings, window_s, now),
            None => self.begin(key.clone(), &readings, window_s, now),
        };
        self.remember_usual(&key, begins);
        told
    }

    /// Keeps the rate that each slice of an open alert's edge had before the trouble, while it can be told from the windows that are kept. Late rows may
    /// add to it; what is forgotten takes nothing away. Of an alert of a former life the rest of a past is no better than what it knew.
    fn remember_usual(&mut self, key: &Key, begins: bool) {
        let (detector, edge) = key;
        let (Some(open), Some(edge)) = (self.open.get_mut(key), self.series.edges.get(edge)) else { return };
        let least = open.usual_else.filter(|_| !begins).map_or(1, |known| known.windows);
        for (part, (past, _)) in edge.parts.iter().filter(|(part, _)| detector.looks_at(part)) {
            let kept = usual(*detector, past, open.first_bad - 1);
            let known = open.usual.get(part).map_or(least, |known| known.windows);
            if kept.shown.is_some() && kept.windows >= known {
                open.usual.insert(part.clone(), kept);
            }
        }
    }

    fn begin(&mut self, key: Key, readings: &[(i64, Part, Reading)], window_s: f64, now: Time) -> Option<Alert> {
        // The last run of bad windows that no clear one ended.
        let ended = readings.iter().rposition(|r| r.2.clear).map_or(0, |at| at + 1);
        let run = &readings[ended..];
        let first = run.iter().find(|r| r.2.bad)?;
        let last = run.iter().rev().find(|r| r.2.bad)?;
        if self.open.len() >= self.config.alerts_max {
            self.counters.alerts_turned_away += 1;
            return None;
        }
        let (detector, edge) = &key;
        let since = self.since(*detector, edge, &last.1, first.0, &last.2, window_s);
        let state = if lasted(first.0, last.0, window_s) >= detector.life(&self.config).for_s { AlertState::Firing } else { AlertState::Pending };
        let start = from_seconds((since as f64 * window_s) as i64);
        let mut alert = Alert {
            id: format!("{}-{:016x}-{}", detector.name(), fingerprint(&format!("{edge:?}")), start.timestamp()),
            detector: detector.name().to_owned(),
            signal: detector.signal().to_owned(),
            state,
            labels: labels(edge),
            since: start,
            fired_at: (state == AlertState::Firing).then_some(now),
            resolved_at: None,
            value: 0.0,
            threshold: 0.0,
            baseline: None,
            baseline_s: 0,
            samples: 0,
            summary: String::new(),
            incident: None,
        };
        fill(&mut alert, *detector, edge, &last.1, &last.2, window_s);
        let places = self.places(edge, &last.1);
        let last_known = readings.last().map_or(last.0, |r| r.0);
        let told = alert.value;
        let open = Open {
            alert: alert.clone(),
            part: Some(last.1.clone()),
            first_bad: since.min(first.0),
            last_bad: last.0,
            last_known,
            places,
            told,
            usual: BTreeMap::new(),
            usual_else: usual_told(*detector, &self.config, &alert),
        };
        self.open.insert(key, open);
        Some(alert)
    }

    fn go_on(&mut self, key: Key, mut open: Open, readings: &[(i64, Part, Reading)], window_s: f64, now: Time) -> Option<Alert> {
        let (detector, edge) = &key;
        let life = detector.life(&self.config).clone();
        let before = open.alert.state;
        open.last_known = open.last_known.max(readings.last().map_or(i64::MIN, |r| r.0));
        if let Some((window, part, reading)) = readings.iter().rev().find(|r| r.2.bad) {
            open.last_bad = open.last_bad.max(*window);
            fill(&mut open.alert, *detector, edge, part, reading, window_s);
            open.places = self.places(edge, part);
            open.part = Some(part.clone());
            if let Some(member) = self.members.get_mut(&open.alert.id) {
                member.last_bad = member.last_bad.max(from_seconds((open.last_bad as f64 * window_s) as i64));
            }
        }
        let newest = self.series.newest.unwrap_or(open.last_known);
        let well =
            readings.iter().filter(|r| r.0 > open.last_bad).all(|r| !r.2.bad) && readings.last().is_some_and(|r| r.0 > open.last_bad && r.2.clear);
        let quiet_s = ((newest - open.last_bad) as f64 * window_s) as i64;
        let unheard_s = ((newest - open.last_known) as f64 * window_s) as i64;
        let keep_s = if before == AlertState::Pending { 0 } else { life.keep_firing_for_s };
        let is_lost = unheard_s >= life.no_data_s;
        if is_lost || (well && quiet_s >= keep_s) {
            open.alert.state = AlertState::Resolved;
            open.alert.resolved_at = Some(now);
            let why = if is_lost { format!("ended without data for {unheard_s} s, not known to be well") } else { "well again".to_owned() };
            open.alert.summary = format!("{}; {why}", open.alert.summary);
            // An alert that never fired was nothing: it vanishes without a word.
            return (before == AlertState::Firing).then_some(open.alert);
        }
        if before == AlertState::Pending && lasted(open.first_bad, open.last_bad, window_s) >= life.for_s {
            open.alert.state = AlertState::Firing;
            open.alert.fired_at = Some(now);
        }
        let moved = (open.alert.value - open.told).abs() > RETOLD_SHARE * open.told.abs();
        let tell = open.alert.state != before || (moved && open.alert.state == AlertState::Firing);
        if tell {
            open.told = open.alert.value;
        }
        let alert = open.alert.clone();
        self.open.insert(key, open);
        tell.then_some(alert)
    }

    fn places(&self, edge: &EdgeKey, part: &Part) -> Places {
        self.series.edges.get(edge).and_then(|e| e.parts.get(part)).map(|(_, places)| places.clone()).unwrap_or_default()
    }

    /// The first bad window: a detector looks at several together, so trouble may have begun within those before the first that it called bad,
    /// and the one it called bad first may hold more good windows than bad ones.
    fn since(&self, detector: Detector, edge: &EdgeKey, part: &Part, first_bad: i64, reading: &Reading, window_s: f64) -> i64 {
        let Some((past, _)) = self.series.edges.get(edge).and_then(|e| e.parts.get(part)) else { return first_bad };
        let alone = |w: i64| {
            let rate = plain_counts(detector, past, w).map(|(bad, all)| bad / all);
            let at = At { window: w, normal_until: first_bad - 1, window_s };
            match detector {
                Detector::RttShift => past.at(w).is_some_and(|x| x.rtt_s > (reading.threshold + reading.baseline.unwrap_or(0.0)) / 2.0),
                Detector::TrafficDrop => {
                    past.at(w).is_some_and(|x| x.bytes / at.window_s < (reading.threshold + reading.baseline.unwrap_or(0.0)) / 2.0)
                }
                _ => rate.is_some_and(|r| r >= reading.threshold / 2.0 && r > 0.0),
            }
        };
        let mut since = first_bad;
        while since > first_bad - 6 && alone(since - 1) {
            since -= 1;
        }
        since
    }

    /// Puts firing alerts into incidents; tells those that changed.
    fn group(&mut self, told: Vec<Alert>, now: Time) -> Vec<Transition> {
        let islands = incidents::islands(self.series.edges.keys());
        let mut changed: BTreeMap<String, ()> = BTreeMap::new();
        let mut transitions = Vec::new();
        for mut alert in told {
            if alert.state == AlertState::Firing && alert.incident.is_none() {
                let id = self.join(&alert, &islands, now);
                changed.insert(id.clone(), ());
                alert.incident = Some(id.clone());
                if let Some(open) = self.open.values_mut().find(|o| o.alert.id == alert.id) {
                    open.alert.incident = Some(id);
                }
            }
            transitions.push(Transition::Alert(Box::new(alert)));
        }
        transitions.extend(changed.keys().filter_map(|id| self.incidents.get(id)).cloned().map(|i| Transition::Incident(Box::new(i))));
        transitions
    }

    fn join(&mut self, alert: &Alert, islands: &BTreeMap<String, usize>, now: Time) -> String {
        let open = self.open.values().find(|o| o.alert.id == alert.id);
        let places = open.map(|o| o.places.clone()).unwrap_or_default();
        let edge = edge_of(alert).unwrap_or_else(|| EdgeKey {
            source_namespace: String::new(),
            source: String::new(),
            dest_namespace: String::new(),
            dest: String::new(),
            from_client: true,
        });
        let member = Member::new(alert.since, &edge, &places);
        let members = &self.members;
        let incidents = self.incidents.values().map(|i| (i, i.alerts.iter().filter_map(|a| members.get(a)).collect::<Vec<_>>()));
        let home = incidents::home(&member, &incidents.collect::<Vec<_>>(), islands);
        let id = home.unwrap_or_else(|| format!("incident-{:016x}", fingerprint(&alert.id)));
        self.members.insert(alert.id.clone(), member);
        let incident = self.incidents.entry(id.clone()).or_insert_with(|| Incident {
            id: id.clone(),
            opened_at: now,
            since: alert.since,
            closed_at: None,
            alerts: Vec::new(),
            component: edgescope_model::verdict::Culprit::none(),
            verdict: None,
            diagnosed_at: None,
        });
        incident.since = incident.since.min(alert.since);
        incident.alerts.push(alert.id.clone());
        let all: Vec<&Member> = incident.alerts.iter().filter_map(|a| self.members.get(a)).collect();
        incident.component = incidents::shared(&all);
        id
    }

    /// Closes incidents whose alerts are all resolved.
    fn close(&mut self, now: Time) -> Vec<Transition> {
        let open: Vec<&str> = self.open.values().filter(|o| o.alert.state == AlertState::Firing).map(|o| o.alert.id.as_str()).collect();
        let done: Vec<String> =
            self.incidents.values().filter(|i| !i.alerts.iter().any(|a| open.contains(&a.as_str()))).map(|i| i.id.clone()).collect();
        let mut transitions = Vec::new();
        for id in done {
            if let Some(mut incident) = self.incidents.remove(&id) {
                incident.closed_at = Some(now);
                incident.alerts.iter().for_each(|a| drop(self.members.remove(a)));
                transitions.push(Transition::Incident(Box::new(incident)));
            }
        }
        transitions
    }
}

/// Whether a detector looks at this direction: connects are made by clients, and requests are what a drop of traffic is told by.
fn applies(detector: Detector, edge: &EdgeKey) -> bool {
    !matches!(detector, Detector::ConnectFailures | Detector::TrafficDrop | Detector::DnsFailures) || edge.from_client
}

/// Seconds from the start of one window to the start of another.
fn lasted(first: i64, last: i64, window_s: f64) -> i64 {
    ((last - first) as f64 * window_s) as i64
}

/// The quarter quantile; zero of too few.
fn common(mut values: Vec<f64>, at_least: usize) -> f64 {
    if values.len() < at_least {
        return 0.0;
    }
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 4]
}
