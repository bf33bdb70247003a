//! What diagnose concludes, with its evidence.

use crate::query::Coverage;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        // Not `rename = $word`: the schema's derive does not see a word that a macro hands on.
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| {
                    format!("'{text}' is none of {}", Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "))
                })
            }
        }
    };
}

words! {
    /// Is it the network?
    Answer { Network = "network", NotNetwork = "not_network", Ambiguous = "ambiguous", InsufficientEvidence = "insufficient_evidence" }
}
words! {
    /// What kind of trouble.
    Class {
        Loss = "loss", Latency = "latency", Unreachable = "unreachable", Policy = "policy", Dns = "dns",
        ServiceDown = "service_down", ServiceSlow = "service_slow", ReceiverLimited = "receiver_limited", DemandDrop = "demand_drop", None = "none",
    }
}
words! {
    /// What kind of component is guilty.
    Scope {
        Node = "node", Zone = "zone", ZonePair = "zone_pair", NodePair = "node_pair", Workload = "workload", Pod = "pod", Edge = "edge", Dns = "dns", None = "none",
    }
}

/// Who did it. For pairs (`zone_pair`, `node_pair`, `edge`) `name` is where the bytes come from and `peer` where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Culprit {
    pub scope: Scope,
    pub name: String,
    #[serde(default)]
    pub peer: Option<String>,
}

impl Culprit {
    /// Nobody.
    pub fn none() -> Self {
        Self { scope: Scope::None, name: String::new(), peer: None }
    }
}

/// One number that speaks for the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    pub signal: String,
    /// Where it was measured, in words: `edges through zone us-east-1b`.
    pub scope: String,
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    pub ratio: Option<f64>,
    pub samples: u64,
    /// The statistical test or rule and its result, in words.
    pub test: String,
}

/// A pair of workloads that is hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Affected {
    pub source: String,
    pub dest: String,
    /// 0..=1, the worst first.
    pub impact: f64,
    pub symptom: String,
}

/// An edge or group of edges that is fine, and so clears what it passes through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Control {
    pub what: String,
    pub edges: u64,
    pub bad: u64,
    pub why: String,
}

/// One explanation that was weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hypothesis {
    pub class: Class,
    pub culprit: Culprit,
    /// Natural logarithm of the likelihood ratio against "nothing is wrong".
    pub log_likelihood: f64,
    pub edges: u64,
    pub edges_bad: u64,
    /// Why it was taken, or cleared.
    pub why: String,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub verdict: Answer,
    pub class: Class,
    /// 0..=1.
    pub confidence: f64,
    pub culprit: Culprit,
    pub since: Option<DateTime<Utc>>,
    /// One sentence for a person at 2 AM.
    pub summary: String,
    pub evidence: Vec<Evidence>,
    pub affected: Vec<Affected>,
    pub controls: Vec<Control>,
    pub hypotheses: Vec<Hypothesis>,
    pub coverage: Coverage,
    /// The range that was looked at.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Edges looked at.
    pub edges: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use utoipa::PartialSchema;

    fn words<T: Serialize + PartialSchema>(all: &[T], word: impl Fn(&T) -> &'static str) {
        let schema = serde_json::to_value(T::schema()).expect("a schema is JSON");
        let said: Vec<_> = all.iter().map(|v| serde_json::to_value(v).expect("a word is JSON")).collect();
        assert_eq!(said, all.iter().map(|v| word(v).into()).collect::<Vec<serde_json::Value>>());
        assert_eq!(schema["enum"], serde_json::Value::Array(said));
    }

    #[test]
    fn the_words_are_the_same_in_code_json_and_schema() {
        words(Answer::ALL, |v| v.as_str());
        words(Class::ALL, |v| v.as_str());
        words(Scope::ALL, |v| v.as_str());
    }
}
