//! Who may do what: bearer tokens with roles.
//!
//! A token is 32 random bytes in hexadecimal; the file keeps its SHA-256, so that who reads the file cannot use it. (A slow hash would add nothing: there is
//! no dictionary of 256-bit numbers.) Comparison looks at every token and takes the same time wherever they differ. An agent's token may name the agents that
//! it speaks for: `agent=node-1,node-2:sha256hex:name`; one that names none speaks for any.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use utoipa::ToSchema;

/// Most tokens of a file: each costs a comparison of 32 bytes a request, 10,000 about 0.2 ms.
const TOKENS_MAX: usize = 10_000;
/// Largest token file read: 10,000 lines of 400 bytes; one with agent ids may take many of those.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most agent ids of one token: whoever has more nodes makes more tokens. All are compared for each message, some microseconds.
const AGENT_IDS_MAX: usize = 1_000;

/// What a token's holder may do. An agent only ships; viewer, editor and admin each may do what those before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Agent,
    Viewer,
    Editor,
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Agent, Self::Viewer, Self::Editor, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// Whether a holder of this role may do what needs `wanted`.
    pub const fn may(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Agent, Self::Agent) => true,
            (Self::Agent, _) | (_, Self::Agent) => false,
            _ => self as u8 >= wanted as u8,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|r| r.as_str() == text).ok_or_else(|| format!("no role '{text}': choose from agent, viewer, editor, admin"))
    }
}

/// A token file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("token file {path}: {source}", path = .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("token file {path} has {bytes} bytes, at most {FILE_BYTES_MAX}", path = .path.display())]
    Size { path: PathBuf, bytes: u64 },
    #[error("token file {path}, line {line}: {what}; write role:sha256hex or role:sha256hex:name or agent=ID,ID:sha256hex:name, made by `edgescope config token`", path = .path.display())]
    Line { path: PathBuf, line: usize, what: String },
    #[error("token file {path} has no token: make one by `edgescope config token --role admin`", path = .path.display())]
    Empty { path: PathBuf },
}

#[derive(Clone)]
struct Entry {
    hash: [u8; 32],
    caller: Caller,
}

/// The known tokens' hashes. Prints only their number.
#[derive(Clone, Default)]
pub struct Tokens {
    entries: Vec<Entry>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.entries.len())
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub role: Role,
    pub name: String,
    /// Ids of the agents that it may speak for; `None`: any.
    pub agent_ids: Option<Arc<[String]>>,
}

impl Caller {
    /// Whether it may greet and ship as this agent; its role is asked for elsewhere.
    pub fn speaks_for(&self, agent_id: &str) -> bool {
        self.agent_ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == agent_id))
    }
}

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// Names the file and the line that is wrong; never what a line holds.
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let failed = |source| TokenFileError::Read { path: path.to_owned(), source };
        let bytes = fs::metadata(path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(TokenFileError::Size { path: path.to_owned(), bytes });
        }
        let tokens = Self::parse(&fs::read_to_string(path).map_err(failed)?).map_err(|(line, what)| TokenFileError::Line {
            path: path.to_owned(),
            line,
            what,
        })?;
        if tokens.entries.is_empty() {
            return Err(TokenFileError::Empty { path: path.to_owned() });
        }
        Ok(tokens)
    }

    /// Reads lines `role[=ids]:sha256hex[:name]`; empty ones and those that start with `#` are left out. An error has the line's number.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if entries.len() == TOKENS_MAX {
                return Err((at + 1, format!("more than {TOKENS_MAX} tokens")));
            }
            let mut parts = line.splitn(3, ':');
            let (role, agent_ids) = parse_role(parts.next().unwrap_or_default()).map_err(|e| (at + 1, e))?;
            let hash = parts.next().and_then(unhex).ok_or_else(|| (at + 1, "the hash is not 64 hexadecimal digits".to_owned()))?;
            entries.push(Entry { hash, caller: Caller { role, name: parts.next().unwrap_or_default().to_owned(), agent_ids } });
        }
        Ok(Self { entries })
    }

    /// Whose token this is. Takes the same time for every token.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // 0: none; else position + 1.
        let mut found = 0u32;
        for (at, entry) in self.entries.iter().enumerate() {
            found.conditional_assign(&(at as u32 + 1), entry.hash.ct_eq(&hash));
        }
        let entry = self.entries.get((found as usize).checked_sub(1)?)?;
        Some(entry.caller.clone())
    }
}

/// Agents that a token speaks for; any if absent.
type AgentIds = Option<Arc<[String]>>;

/// Reads `role`, or `agent=ID,ID`. Errors never hold what the line does: it may be a secret in the wrong place.
fn parse_role(text: &str) -> Result<(Role, AgentIds), String> {
    let Some((role, ids)) = text.split_once('=') else { return Ok((text.parse()?, None)) };
    if role.parse() != Ok(Role::Agent) {
        return Err("only role agent takes agent ids".to_owned());
    }
    let ids: Vec<String> = ids.split(',').map(|id| id.trim().to_owned()).collect();
    if ids.len() > AGENT_IDS_MAX {
        return Err(format!("{} agent ids, at most {AGENT_IDS_MAX}: make another token", ids.len()));
    }
    // Agents call themselves by these alone, so that anything else is a slip.
    let sound = |id: &String| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match ids.iter().position(|id| !sound(id)) {
        Some(at) => Err(format!("agent id {} is not of letters, digits, '-', '_' and '.'", at + 1)),
        None => Ok((Role::Agent, Some(ids.into()))),
    }
}

/// A token just made: `secret` is for its holder and stored nowhere, `line` for the token file.
#[derive(Clone)]
pub struct NewToken {
    pub secret: String,
    pub line: String,
}

/// Makes a token for a role; `name` says in logs whose it is. An agent's may be bound to agent ids: it speaks for no others.
///
/// # Errors
/// If the name holds a line break, an id is none or the role takes none, or the system has no randomness.
pub fn new_token(role: Role, agent_ids: &[String], name: Option<&str>) -> Result<NewToken, String> {
    use rand::TryRngCore;
    let may = if agent_ids.is_empty() { role.to_string() } else { format!("{role}={}", agent_ids.join(",")) };
    parse_role(&may)?;
    if name.is_some_and(|n| n.contains(['\n', '\r'])) {
        return Err("a token's name must be one line".to_owned());
    }
    let mut bytes = [0u8; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|e| format!("the system gave no random bytes: {e}"))?;
    let secret = hex(&bytes);
    let line = format!("{may}:{}{}", hex(&Sha256::digest(secret.as_bytes())), name.map(|n| format!(":{n}")).unwrap_or_default());
    Ok(NewToken { secret, line })
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_known_by_its_line_and_no_other_is() {
        let (agent, viewer) = (new_token(Role::Agent, &[], Some("node-1: rack 2")).unwrap(), new_token(Role::Viewer, &[], None).unwrap());
        let tokens = Tokens::parse(&format!("# ours\n\n{}\n{}\n", agent.line, viewer.line)).unwrap();
        assert_eq!(tokens.caller(&agent.secret), Some(Caller { role: Role::Agent, name: "node-1: rack 2".into(), agent_ids: None }));
        assert_eq!(tokens.caller(&viewer.secret).map(|c| c.role), Some(Role::Viewer));
        for wrong in ["", "x", &agent.secret[1..], &agent.line, &agent.line[6..]] {
            assert_eq!(tokens.caller(wrong), None, "{wrong}");
        }
        assert_eq!(Tokens::default().caller(&agent.secret), None);
        assert!(!agent.line.contains(&agent.secret));
        assert_eq!(format!("{tokens:?}"), "2 tokens");
    }

    #[test]
    fn a_line_says_for_which_agents_its_token_speaks() {
        let ids = ["node-1", "node-2.example"].map(str::to_owned);
        let bound = new_token(Role::Agent, &ids, Some("rack: 2")).unwrap();
        let free = new_token(Role::Agent, &[], Some("rack: 2")).unwrap();
        assert_eq!(new_token(Role::Viewer, &ids, None).err().as_deref(), Some("only role agent takes agent ids"));
        let line = bound.line.replacen(',', ", ", 1);
        let tokens = Tokens::parse(&format!("{line}\n{}", free.line)).unwrap();
        let caller = tokens.caller(&bound.secret).unwrap();
        assert_eq!((caller.role, caller.name.as_str()), (Role::Agent, "rack: 2"));
        for (id, may) in [("node-1", true), ("node-2.example", true), ("node", false), ("node-12", false), ("", false)] {
            assert_eq!(caller.speaks_for(id), may, "{id}");
        }
        assert!(tokens.caller(&free.secret).unwrap().speaks_for("anybody"), "a line without ids, as ever");
        let hash = "0".repeat(64);
        let many = vec!["a"; AGENT_IDS_MAX + 1].join(",");
        for (role, expected) in [
            ("viewer=node-1", "only role agent takes agent ids"),
            ("agent=", "agent id 1 is not"),
            ("agent=node-1,", "agent id 2 is not"),
            ("agent=no de", "agent id 1 is not"),
            (&format!("agent={many}"), "1001 agent ids, at most 1000"),
        ] {
            let (line, what) = Tokens::parse(&format!("{role}:{hash}")).map(|_| ()).unwrap_err();
            assert!(line == 1 && what.contains(expected), "{role}: {what}");
        }
    }

    #[test]
    fn wrong_lines_are_named_by_number_only() {
        for (text, line) in [
            ("root:00", 1),
            ("# x\nviewer:12", 2),
            ("viewer", 1),
            (&format!("viewer:{}", "g".repeat(64)) as &str, 1),
            (&format!("viewer:{}", "é".repeat(32)), 1),
        ] {
            assert_eq!(Tokens::parse(text).map(|_| ()).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn agents_only_ship_and_people_never_do() {
        for wanted in Role::ALL {
            for held in Role::ALL {
                let expected = match (held, wanted) {
                    (Role::Agent, w) => w == Role::Agent,
                    (_, Role::Agent) => false,
                    (Role::Viewer, w) => w == Role::Viewer,
                    (Role::Editor, w) => w != Role::Admin,
                    (Role::Admin, _) => true,
                };
                assert_eq!(held.may(wanted), expected, "{held} wants {wanted}");
            }
        }
    }

    #[test]
    fn bearer_reads_the_header() {
        assert_eq!(bearer(Some("Bearer abc")), Some("abc"));
        assert_eq!(bearer(Some("bearer  abc ")), Some("abc"));
        for none in [None, Some("abc"), Some("Basic abc")] {
            assert_eq!(bearer(none), None);
        }
    }
}
