//! On which line of a YAML file a key is.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A YAML tree of which only the places matter.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    List(Vec<Spanned<Node>>),
    Leaf,
}

/// The line of the value of `key` (`identity.rules[0].match`, or the deepest part of it that is there), counted from 1. `None` if the file has nothing of it.
pub fn line_of(file: &str, key: &str) -> Option<usize> {
    let root: Node = serde_saphyr::from_str(file).ok()?;
    let mut at = &root;
    let mut line = None;
    for step in key.replace('[', ".").replace(']', "").split('.') {
        let next = match at {
            Node::Map(entries) => entries.iter().find(|(name, _)| name == step).map(|(_, value)| value),
            Node::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Node::Leaf => None,
        };
        let Some(found) = next else { break };
        line = usize::try_from(found.referenced.line()).ok().filter(|&line| line > 0);
        at = &found.value;
    }
    line
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_so_is_the_place_of_one_that_is_missing() {
        let file = "agent:\n  id: a\n  limits: { flows_max: 0 }\nidentity:\n  rules:\n    - match: { port: 1 }\n      workload: a\n    - match: {}\n";
        for (key, line) in [
            ("agent.id", Some(2)),
            ("agent.limits.flows_max", Some(3)),
            ("identity.rules[0].match.port", Some(6)),
            ("identity.rules[0].workload", Some(7)),
            ("identity.rules[1].match", Some(8)),
            ("identity.rules[1].workload", Some(8)),
            ("server.listen", None),
        ] {
            assert_eq!(line_of(file, key), line, "{key}");
        }
        assert_eq!(line_of("", "agent.id"), None);
    }
}
