//! The dimensions of an exported point, under the original collector's names.

use crate::dims::{Dim, EndField};
use serde::{Deserialize, Serialize};

/// How finely an edge's ends are told apart. Every level has the same totals: whoever adds points up takes one `aggregation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Workload and zone at both ends.
    #[default]
    AzAz,
    /// The destination's endpoints one by one.
    AzId,
    /// The source's endpoints one by one.
    IdAz,
    /// Both ends' endpoints one by one.
    IdId,
}

impl Aggregation {
    pub const ALL: [Self; 4] = [Self::AzAz, Self::AzId, Self::IdAz, Self::IdId];

    /// Value of the label `aggregation`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AzAz => "az_az",
            Self::AzId => "az_id",
            Self::IdAz => "id_az",
            Self::IdId => "id_id",
        }
    }

    /// Whether the source's and the destination's endpoints are told apart.
    const fn ids(self) -> (bool, bool) {
        match self {
            Self::AzAz => (false, false),
            Self::AzId => (false, true),
            Self::IdAz => (true, false),
            Self::IdId => (true, true),
        }
    }
}

/// A dimension of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndLabel {
    /// Without `source.` or `dest.`.
    pub name: &'static str,
    /// What fills it; `None`: edges do not keep it, and it says that it is unknown.
    pub field: Option<EndField>,
    /// Its value where nothing is known.
    pub unknown: &'static str,
    /// Only where endpoints are told apart.
    pub of_endpoint: bool,
    pub brief: &'static str,
}

const fn label(name: &'static str, field: Option<EndField>, unknown: &'static str, brief: &'static str) -> EndLabel {
    EndLabel { name, field, unknown, of_endpoint: false, brief }
}

const fn of_endpoint(name: &'static str, field: EndField, brief: &'static str) -> EndLabel {
    EndLabel { name, field: Some(field), unknown: "-", of_endpoint: true, brief }
}

/// The dimensions of an end.
pub const END_LABELS: [EndLabel; 12] = [
    label("workload.name", Some(EndField::Workload), "(unknown)", "the workload"),
    label("workload.uid", None, "-", "always `-`: an edge is named, and names do not change with the object behind them"),
    label("availability_zone", Some(EndField::Zone), "-", "the zone"),
    label("resolution_type", Some(EndField::ResolutionType), "NONE", "how the name was found, in the original's words (below)"),
    label("image_version", Some(EndField::Image), "-", "the container's image"),
    label("environment", Some(EndField::Environment), "(no agent)", "the cluster or site"),
    label("namespace.name", Some(EndField::Namespace), "-", "the namespace"),
    label("process.name", Some(EndField::Process), "-", "the process"),
    label("container.name", None, "-", "always `-`: an edge keeps its pod, not which container of it"),
    of_endpoint("id", EndField::Pod, "the endpoint: pod, container, unit or process"),
    of_endpoint("ip", EndField::Ip, "the address, where nothing names it"),
    of_endpoint("pod", EndField::Pod, "the same as `id`"),
];

/// Labels of the edge as a whole: name, brief.
pub const EDGE_LABELS: [(&str, &str); 3] = [
    ("az_equal", "`true` or `false`: whether both ends are in one zone; absent where a zone is unknown"),
    ("aggregation", "`az_az`, or what `export.aggregations` adds; each has the full totals"),
    ("sf_product", "always `network-explorer`: built-in dashboards look for it"),
];

/// Value of `sf_product`.
pub const SF_PRODUCT: &str = "network-explorer";

/// Workload of the row that holds what exceeds `export.series_max`.
pub const OTHER: &str = "(other)";

/// The original's word for how a name was found; what it had no word for is ours in capitals.
pub fn resolution_type(found_by: &str) -> String {
    let word = match found_by {
        "" | "unknown" => "NONE",
        "ip" | "prefix" => "IP",
        "dns" | "sni" => "DNS",
        "cloud" | "cloud_range" | "aws" => "AWS",
        "metadata" | "instance_metadata" => "INSTANCE_METADATA",
        "process" | "systemd" => "PROCESS",
        "loopback" => "LOCALHOST",
        "k8s" | "kubernetes" | "pod" => "K8S_CONTAINER",
        "container" | "docker" | "podman" | "containerd" | "cri" | "ecs" => "CONTAINER",
        "nomad" => "NOMAD",
        other => return other.to_uppercase(),
    };
    word.to_owned()
}

/// What to group a query by for this level, each dimension once.
pub fn group_by(aggregation: Aggregation) -> Vec<Dim> {
    let (source_ids, dest_ids) = aggregation.ids();
    let of = |ids: bool, side: fn(EndField) -> Dim| {
        let mut fields: Vec<EndField> = END_LABELS.iter().filter(|l| ids || !l.of_endpoint).filter_map(|l| l.field).collect();
        fields.sort_unstable();
        fields.dedup();
        fields.into_iter().map(side)
    };
    of(source_ids, Dim::Source).chain(of(dest_ids, Dim::Dest)).collect()
}

/// The labels of a group: `key` holds the values of [`group_by`], in its order. Sorted by name.
pub fn labels(aggregation: Aggregation, group_by: &[Dim], key: &[String]) -> Vec<(String, String)> {
    let value = |dim: Dim| group_by.iter().position(|d| *d == dim).and_then(|at| key.get(at)).map_or("", String::as_str);
    let (source_ids, dest_ids) = aggregation.ids();
    let mut labels = Vec::with_capacity(2 * END_LABELS.len() + EDGE_LABELS.len());
    let sides: [(&str, bool, fn(EndField) -> Dim); 2] = [("source", source_ids, Dim::Source), ("dest", dest_ids, Dim::Dest)];
    for (side, ids, dim) in sides {
        for label in END_LABELS.iter().filter(|label| ids || !label.of_endpoint) {
            let known = label.field.map_or("", |field| value(dim(field)));
            let text = match label.field {
                _ if known.is_empty() => label.unknown.to_owned(),
                Some(EndField::ResolutionType) => resolution_type(known),
                _ => known.to_owned(),
            };
            labels.push((format!("{side}.{}", label.name), text));
        }
    }
    let (from, to) = (value(Dim::Source(EndField::Zone)), value(Dim::Dest(EndField::Zone)));
    if !from.is_empty() && !to.is_empty() {
        labels.push(("az_equal".to_owned(), (from == to).to_string()));
    }
    labels.push(("aggregation".to_owned(), aggregation.as_str().to_owned()));
    labels.push(("sf_product".to_owned(), SF_PRODUCT.to_owned()));
    labels.sort();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(aggregation: Aggregation, values: &[(Dim, &str)]) -> Vec<(String, String)> {
        let dims = group_by(aggregation);
        let key: Vec<String> = dims.iter().map(|d| values.iter().find(|(dim, _)| dim == d).map_or(String::new(), |(_, v)| (*v).to_owned())).collect();
        labels(aggregation, &dims, &key)
    }

    fn get<'a>(labels: &'a [(String, String)], name: &str) -> Option<&'a str> {
        labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn what_is_unknown_says_so_and_zones_compare_only_when_known() {
        let zone = |side: fn(EndField) -> Dim, value| (side(EndField::Zone), value);
        let known = of(
            Aggregation::AzAz,
            &[
                (Dim::Source(EndField::Workload), "cart"),
                zone(Dim::Source, "a"),
                zone(Dim::Dest, "b"),
                (Dim::Dest(EndField::ResolutionType), "systemd"),
            ],
        );
        assert_eq!(get(&known, "source.workload.name"), Some("cart"));
        assert_eq!(get(&known, "dest.workload.name"), Some("(unknown)"));
        assert_eq!((get(&known, "source.resolution_type"), get(&known, "dest.resolution_type")), (Some("NONE"), Some("PROCESS")));
        assert_eq!((get(&known, "az_equal"), get(&known, "aggregation")), (Some("false"), Some("az_az")));
        assert_eq!(get(&known, "source.pod"), None);
        let half = of(Aggregation::AzAz, &[zone(Dim::Source, "a")]);
        assert_eq!(get(&half, "az_equal"), None, "one zone alone says nothing");
        assert!(known.is_sorted());
    }

    #[test]
    fn endpoints_are_told_apart_at_the_side_that_the_level_names() {
        let labels = of(Aggregation::AzId, &[(Dim::Dest(EndField::Pod), "cart-1")]);
        assert_eq!((get(&labels, "source.id"), get(&labels, "dest.id")), (None, Some("cart-1")));
        assert_eq!(of(Aggregation::IdId, &[]).len(), 2 * 12 + 2);
    }
}
