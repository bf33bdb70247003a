//! Edges' dimensions in memory: what each key of the facts stands for, as small integers that group and compare fast.

use crate::spec::{EDGE, UPDATED, edge_dims, stored_dims};
use datafusion::arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use edgescope_model::dims::{Dim, EdgeDims, EndDims, Role};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// An active edge's row of `edge_dims` is written again once a day, so that rows of edges that are long gone can expire.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// Name of what a capped environment's surplus is summed under.
const OTHER: &str = "other";

/// How an end was named (`resolution_type`) that has no name but its address, and those that have but their block of addresses, or whose it is.
const BY_ADDRESS: &str = "ip";
const BY_BLOCK: [&str; 5] = ["prefix", "asn", "aws", "gcp", "azure"];
/// Edges with an end without a name have places of their own, this part of `series_max` each for those by address and those by prefix: whoever calls from
/// ten thousand addresses pushes out no pair with names. With 20,000 named ones that makes 40,000 edges, 16 MB for each environment.
const NAMELESS_PART: usize = 2;
/// Most environments that are active at once: full to the brim they take 512 MB. An agent may name one for each of its owners. The edges of further ones are
/// summed under "other"; those that name none always have a place.
const ENVIRONMENTS_MAX: usize = 32;

/// Dimension values, each once.
#[derive(Default)]
struct Texts {
    ids: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn id(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let (id, text) = (self.texts.len() as u32, Arc::<str>::from(text));
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }
}

/// One edge.
pub(crate) struct Edge {
    pub key: i64,
    /// Key of the same edge in roll-ups.
    pub rolled: i64,
    /// By the order of [`stored_dims`].
    values: Box<[u32]>,
    /// Last day (since the epoch) that `edge_dims` says it was active.
    pub day: i64,
}

/// All known edges.
#[derive(Default)]
pub(crate) struct Dims {
    texts: Texts,
    edges: Vec<Edge>,
    index: HashMap<i64, u32>,
    active: Active,
}

/// Active edges by environment and kind, as of a day.
#[derive(Default)]
struct Active {
    today: i64,
    edges: HashMap<Arc<str>, Counts>,
}

/// Edges of one environment by [`Kind`].
type Counts = [usize; 3];

/// What an edge is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Named,
    /// An end without a name is told by its prefix, or is the rolled-up form of an address.
    Prefix,
    /// An end without a name is told by its address.
    Address,
}

impl Kind {
    /// By `resolution_type` and `ip` of both ends.
    fn of(ends: [(&str, &str); 2]) -> Self {
        let nameless = |(found, _): &&(&str, &str)| *found == BY_ADDRESS || BY_BLOCK.contains(found);
        match ends.iter().filter(nameless).map(|(_, ip)| ip.is_empty()).min() {
            None => Self::Named,
            Some(true) => Self::Prefix,
            Some(false) => Self::Address,
        }
    }

    fn of_dims(dims: &EdgeDims) -> Self {
        Self::of([&dims.source, &dims.dest].map(|end| (end.resolution_type.as_str(), end.ip.as_str())))
    }

    /// Most edges of this kind in an environment.
    const fn max(self, series_max: usize) -> usize {
        match self {
            Self::Named => series_max,
            Self::Prefix | Self::Address => series_max / NAMELESS_PART,
        }
    }
}

/// What a commit has to know and to write before its facts.
#[derive(Default)]
pub(crate) struct Admission {
    /// Edges to be written to `edge_dims`: new, or not written today.
    pub fresh: HashMap<i64, EdgeDims>,
    /// Rows whose key, and edges whose key in roll-ups, already stand for other dimensions.
    pub collisions: u64,
    /// Rows summed under "other" since their environment has as many edges as it may, or there are as many environments.
    pub capped: u64,
    /// Rows summed under the prefix of an end without a name since their environment has as many edges by address as it may.
    pub folded: u64,
    /// New ones by environment and kind.
    new: HashMap<String, Counts>,
}

impl Dims {
    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn edge(&self, key: i64) -> Option<&Edge> {
        self.index.get(&key).map(|&at| &self.edges[at as usize])
    }

    pub(crate) fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Number that stands for a dimension's value of an edge: equal if and only if the values are.
    pub(crate) fn id(&self, edge: &Edge, place: Place) -> u32 {
        match place {
            Place::Stored(at) => edge.values[at],
            Place::Equal(a, b) => self.equal(edge, a, b).map_or(0, |equal| 1 + u32::from(equal)),
        }
    }

    /// Value of a dimension of an edge; empty if unknown.
    pub(crate) fn text(&self, edge: &Edge, place: Place) -> &str {
        match place {
            Place::Stored(at) => self.stored(edge, at),
            Place::Equal(a, b) => match self.equal(edge, a, b) {
                None => "",
                Some(true) => "true",
                Some(false) => "false",
            },
        }
    }

    fn stored(&self, edge: &Edge, at: usize) -> &str {
        &self.texts.texts[edge.values[at] as usize]
    }

    fn equal(&self, edge: &Edge, a: usize, b: usize) -> Option<bool> {
        (!self.stored(edge, a).is_empty() && !self.stored(edge, b).is_empty()).then_some(edge.values[a] == edge.values[b])
    }

    /// Takes an edge in, or its later day of activity.
    pub(crate) fn insert(&mut self, key: i64, dims: &EdgeDims, day: i64) {
        let at = match self.index.get(&key) {
            Some(&at) => at as usize,
            None => {
                let values = stored_dims().map(|dim| self.texts.id(&value(dims, dim))).collect();
                self.push(Edge { key, rolled: dims.rolled_up().key(), values, day: i64::MIN })
            }
        };
        let before = self.edges[at].day;
        self.edges[at].day = before.max(day);
        if !is_active(before, self.active.today) && is_active(day, self.active.today) {
            self.count(at);
        }
    }

    fn push(&mut self, edge: Edge) -> usize {
        self.index.insert(edge.key, self.edges.len() as u32);
        self.edges.push(edge);
        self.edges.len() - 1
    }

    fn count(&mut self, at: usize) {
        use edgescope_model::dims::EndField::{Environment, Ip, ResolutionType};
        let edge = &self.edges[at];
        let text = |dim| self.text(edge, Place::of(dim));
        let kind = Kind::of([(text(Dim::Source(ResolutionType)), text(Dim::Source(Ip))), (text(Dim::Dest(ResolutionType)), text(Dim::Dest(Ip)))]);
        let Place::Stored(place) = Place::of(Dim::Source(Environment)) else { return };
        let environment = Arc::clone(&self.texts.texts[edge.values[place] as usize]);
        self.active.edges.entry(environment).or_default()[kind as usize] += 1;
    }

    /// Day as of which active edges are counted.
    pub(crate) fn today(&self) -> i64 {
        self.active.today
    }

    /// Counts active edges as of another day.
    pub(crate) fn turn_to(&mut self, today: i64) {
        self.active = Active { today, edges: HashMap::new() };
        for at in 0..self.edges.len() {
            if is_active(self.edges[at].day, today) {
                self.count(at);
            }
        }
    }

    /// Whether [`Self::without`] would leave any out.
    pub(crate) fn has_before(&self, day: i64) -> bool {
        self.edges.iter().any(|edge| edge.day < day)
    }

    /// The same without edges that were last active before a day, and without the texts that only they had.
    pub(crate) fn without(self, day: i64) -> Self {
        let Self { texts, edges, active, .. } = self;
        let mut kept = Self::default();
        for edge in edges.into_iter().filter(|edge| edge.day >= day) {
            let values = edge.values.iter().map(|&id| kept.texts.id(&texts.texts[id as usize])).collect();
            kept.push(Edge { values, ..edge });
        }
        kept.turn_to(active.today);
        kept
    }

    fn is(&self, edge: &Edge, dims: &EdgeDims) -> bool {
        stored_dims().zip(&edge.values).all(|(dim, &id)| *self.texts.texts[id as usize] == *value(dims, dim))
    }

    /// The key under which a row of these dimensions is stored: its own, or "other".
    pub(crate) fn admit(&self, admission: &mut Admission, dims: &EdgeDims, series_max: usize) -> i64 {
        let (key, today) = (dims.key(), self.active.today);
        // Whether the key stands for these dimensions, by the commit's own and by those that are known.
        let fresh = admission.fresh.get(&key).map(|fresh| fresh == dims);
        let known = self.edge(key).map(|edge| (self.is(edge, dims), edge.day));
        match (fresh, known) {
            (Some(true), _) => return key,
            (None, Some((true, day))) => {
                if day < today {
                    admission.fresh.insert(key, dims.clone());
                    self.admit_rolled(admission, dims);
                }
                return key;
            }
            (None, None) if self.take_place(admission, dims, series_max) => {
                admission.fresh.insert(key, dims.clone());
                self.admit_rolled(admission, dims);
                return key;
            }
            (None, None) => match folded(dims) {
                Some(prefix) => {
                    let capped = admission.capped;
                    let key = self.admit(admission, &prefix, series_max);
                    admission.folded += u64::from(admission.capped == capped);
                    return key;
                }
                None => admission.capped += 1,
            },
            _ => admission.collisions += 1,
        }
        let other = other(dims, |environment| self.knows(admission, environment));
        let key = other.key();
        if self.edge(key).is_none_or(|edge| edge.day < today) {
            admission.fresh.insert(key, other);
        }
        key
    }

    /// Takes a place for a new edge, if its environment has one left for its kind.
    fn take_place(&self, admission: &mut Admission, dims: &EdgeDims, series_max: usize) -> bool {
        let (environment, kind) = (dims.source.environment.as_str(), Kind::of_dims(dims));
        if !self.knows(admission, environment) {
            let new = admission.new.keys().filter(|new| !self.active.edges.contains_key(new.as_str())).count();
            if self.active.edges.len() + new >= ENVIRONMENTS_MAX {
                return false;
            }
        }
        let held = self.active.edges.get(environment).map_or(0, |held| held[kind as usize]);
        let new = admission.new.get(environment).map_or(0, |new| new[kind as usize]);
        let taken = held + new < kind.max(series_max);
        if taken {
            admission.new.entry(environment.to_owned()).or_default()[kind as usize] += 1;
        }
        taken
    }

    /// Whether an environment has places.
    fn knows(&self, admission: &Admission, environment: &str) -> bool {
        environment.is_empty() || self.active.edges.contains_key(environment) || admission.new.contains_key(environment)
    }

    fn admit_rolled(&self, admission: &mut Admission, dims: &EdgeDims) {
        let rolled = dims.rolled_up();
        let key = rolled.key();
        match (admission.fresh.get(&key), self.edge(key)) {
            (Some(fresh), _) if *fresh == rolled => {}
            (None, Some(edge)) if self.is(edge, &rolled) => {
                if edge.day < self.active.today {
                    admission.fresh.insert(key, rolled);
                }
            }
            (None, None) => drop(admission.fresh.insert(key, rolled)),
            // The edge's minutes go under another's name: there is no second key for them.
            _ => admission.collisions += 1,
        }
    }
}

/// Whether an edge counts as active: it was seen on the day or the day before.
fn is_active(day: i64, today: i64) -> bool {
    day >= today - 1
}

/// The same edge with ends that have no name told by their block; `None` if they are.
fn folded(dims: &EdgeDims) -> Option<EdgeDims> {
    let mut folded = dims.clone();
    for end in [&mut folded.source, &mut folded.dest] {
        if BY_BLOCK.contains(&end.resolution_type.as_str()) {
            end.ip.clear();
        }
    }
    (folded != *dims).then_some(folded)
}

/// The edge that a row goes to when its own has no place. `knows` tells the environments that have places.
fn other(dims: &EdgeDims, knows: impl Fn(&str) -> bool) -> EdgeDims {
    let end = |environment: &str| EndDims {
        workload: OTHER.to_owned(),
        environment: if knows(environment) { environment } else { OTHER }.to_owned(),
        resolution_type: OTHER.to_owned(),
        ..EndDims::default()
    };
    EdgeDims { source: end(&dims.source.environment), dest: end(&dims.dest.environment), protocol: dims.protocol.clone(), port: 0, role: dims.role }
}

/// Where a dimension's value of an edge is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Stored(usize),
    /// Whether two stored ones are equal; unknown if either is empty.
    Equal(usize, usize),
}

impl Place {
    pub(crate) fn of(dim: Dim) -> Self {
        use edgescope_model::dims::EndField::Zone;
        let stored = |dim| stored_dims().position(|stored| stored == dim).unwrap_or_default();
        match dim {
            Dim::AzEqual => Self::Equal(stored(Dim::Source(Zone)), stored(Dim::Dest(Zone))),
            _ => Self::Stored(stored(dim)),
        }
    }
}

fn value(dims: &EdgeDims, dim: Dim) -> Cow<'_, str> {
    match dim {
        Dim::Source(field) => dims.source.get(field).into(),
        Dim::Dest(field) => dims.dest.get(field).into(),
        Dim::Protocol => dims.protocol.as_str().into(),
        Dim::Role => dims.role.as_str().into(),
        Dim::Port | Dim::AzEqual => dims.get(dim).into(),
    }
}

/// Rows of `edge_dims`, in no order.
pub(crate) fn to_batch(edges: &HashMap<i64, EdgeDims>, now_us: i64) -> Result<RecordBatch, ArrowError> {
    let moments = TimestampMicrosecondArray::from_iter_values(edges.iter().map(|_| now_us)).with_timezone("UTC");
    let keys = Int64Array::from_iter_values(edges.keys().copied());
    let rolled = Int64Array::from_iter_values(edges.values().map(|dims| dims.rolled_up().key()));
    let mut columns: Vec<ArrayRef> = vec![Arc::new(moments), Arc::new(keys), Arc::new(rolled)];
    for dim in stored_dims() {
        columns.push(match dim {
            Dim::Port => Arc::new(Int32Array::from_iter_values(edges.values().map(|dims| i32::from(dims.port)))),
            _ => Arc::new(StringArray::from_iter_values(edges.values().map(|dims| value(dims, dim)))),
        });
    }
    RecordBatch::try_new(edge_dims().schema, columns)
}

/// Reads rows of `edge_dims`: key, dimensions, day.
pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Vec<(i64, EdgeDims, i64)>, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let (keys, moments) = (column(EDGE)?.as_primitive::<Int64Type>(), column(UPDATED)?.as_primitive::<TimestampMicrosecondType>());
    let mut rows: Vec<_> = (0..batch.num_rows()).map(|row| (keys.value(row), EdgeDims::default(), moments.value(row).div_euclid(DAY_US))).collect();
    for dim in stored_dims() {
        let cells = column(&dim.column())?;
        for (row, (_, dims, _)) in rows.iter_mut().enumerate() {
            match dim {
                Dim::Port => dims.port = u16::try_from(cells.as_primitive::<Int32Type>().value(row)).unwrap_or(0),
                _ => set(dims, dim, cells.as_string::<i32>().value(row)),
            }
        }
    }
    Ok(rows)
}

fn set(dims: &mut EdgeDims, dim: Dim, text: &str) {
    match dim {
        Dim::Source(field) => text.clone_into(end_field(&mut dims.source, field)),
        Dim::Dest(field) => text.clone_into(end_field(&mut dims.dest, field)),
        Dim::Protocol => text.clone_into(&mut dims.protocol),
        Dim::Role => dims.role = if text == Role::Server.as_str() { Role::Server } else { Role::Client },
        Dim::Port | Dim::AzEqual => {}
    }
}

fn end_field(end: &mut EndDims, field: edgescope_model::dims::EndField) -> &mut String {
    use edgescope_model::dims::EndField as F;
    match field {
        F::Workload => &mut end.workload,
        F::Namespace => &mut end.namespace,
        F::Node => &mut end.node,
        F::Zone => &mut end.zone,
        F::Region => &mut end.region,
        F::Environment => &mut end.environment,
        F::Process => &mut end.process,
        F::Image => &mut end.image,
        F::ResolutionType => &mut end.resolution_type,
        F::Pod => &mut end.pod,
        F::Ip => &mut end.ip,
    }
}
